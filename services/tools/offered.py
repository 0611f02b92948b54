"""What a server offers: its tools as it tells them, less those that settings leave out and those that have changed. Pure."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import orjson
from tollway.tools.v1 import tools_pb2 as pb

from services.runtime.mcp import HINTS, named
from services.tools.catalogue import Server

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
LARGEST_BYTES = 256 << 10
"""Of what a tool says of itself."""
CHANGED = "it is no longer what was approved"


def offered(name: str, server: Server, told: Iterable[Any]) -> tuple[dict[str, pb.Tool], dict[str, pb.Withheld]]:
    """The tools that are offered, and those that are not, by their names in the mesh. What settings leave out is in neither.

    Raises:
        LookupError, TypeError, ValueError: the server tells them in another shape.
    """
    tools: dict[str, pb.Tool] = {}
    withheld: dict[str, pb.Withheld] = {}
    for said in told:
        own = said["name"]
        if (server.tools and own not in server.tools) or own in server.hidden:
            continue
        made = _tool(name, server, said)
        if reason := _fault(server, own, made):
            withheld[made.name] = pb.Withheld(name=made.name[:256], reason=reason, digest=made.digest)
        else:
            tools[made.name] = made
    return tools, withheld


def _tool(name: str, server: Server, said: Mapping[str, Any]) -> pb.Tool:
    annotations = said.get("annotations") or {}
    output = said.get("outputSchema")
    made = pb.Tool(
        name=named(name, said["name"]),
        server=name,
        title=said.get("title") or annotations.get("title") or "",
        description=said.get("description") or "",
        input_schema_json=orjson.dumps(said["inputSchema"], option=orjson.OPT_SORT_KEYS).decode(),
        output_schema_json=orjson.dumps(output, option=orjson.OPT_SORT_KEYS).decode() if output else "",
        hints=pb.Hints(**{ours: annotations[theirs] for theirs, ours in HINTS.items() if theirs in annotations}),
    )
    made.digest = sha256(made.SerializeToString(deterministic=True)).hexdigest()
    made.trusted = server.trusted
    return made


def _fault(server: Server, own: str, made: pb.Tool) -> str:
    """Why it is not offered; '' where it is."""
    if not NAME.fullmatch(own):
        return "its name is none"
    if made.ByteSize() > LARGEST_BYTES:
        return f"it says more than {LARGEST_BYTES} bytes of itself"
    pinned = server.pins.get(own)
    return CHANGED if pinned is not None and pinned != made.digest else ""
