"""What tools return, from MCP's words into ours. Pure."""

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from tollway.tools.v1 import tools_pb2 as pb

ASKS = "input_required"
"""The type of a result that is a question."""


def result(said: Mapping[str, Any]) -> pb.Result:
    """
    Raises:
        LookupError, TypeError, ValueError: it is of another shape.
    """
    structured = said.get("structuredContent")
    return pb.Result(
        contents=[content(one) for one in said["content"]],
        structured_json=orjson.dumps(structured).decode() if structured is not None else "",
        failed=bool(said.get("isError")),
    )


def refusal(words: str) -> pb.Result:
    """What a server refuses in the protocol's words: the model that asked may mend it."""
    return pb.Result(contents=[pb.Content(text=words)], failed=True)


def content(said: Mapping[str, Any]) -> pb.Content:
    """A piece of a result or of a prompt; raises as `result`."""
    match said["type"]:
        case "text":
            return pb.Content(text=said["text"])
        case "image":
            return pb.Content(image=_blob(said))
        case "audio":
            return pb.Content(audio=_blob(said))
        case "resource":
            return pb.Content(resource=resource(said["resource"]))
        case "resource_link":
            told = {name: said.get(name) or "" for name in ("uri", "name", "description")}
            return pb.Content(link=pb.ResourceLink(mime_type=said.get("mimeType") or "", **told))
    raise ValueError("a content of no known type")


def _blob(said: Mapping[str, Any]) -> pb.Blob:
    return pb.Blob(data=base64.b64decode(said["data"], validate=True), mime_type=said["mimeType"])


def resource(said: Mapping[str, Any]) -> pb.Resource:
    """A document; raises as `result`."""
    made = pb.Resource(uri=said["uri"], mime_type=said.get("mimeType") or "")
    if "text" in said:
        made.text = said["text"]
    else:
        made.data = base64.b64decode(said["blob"], validate=True)
    return made
