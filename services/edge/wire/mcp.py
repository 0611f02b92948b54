"""MCP as clients speak it over HTTP: JSON-RPC, in the revisions that begin with a handshake and in the one that needs none.

Nothing is kept of a client between its requests, so there are no sessions: a handshake is answered, and forgotten.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from msgspec import UNSET, Struct, UnsetType
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.tools.v1 import tools_pb2 as tools

from services.edge.wire.errors import Refusal, as_json
from services.runtime.mcp import HANDSHAKE, HINTS, MODERN, NO_METHOD, PREFIX, US, named, of_header, own_name

PATH = "/mcp"
ABLE: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}}
PARSE, INVALID, PARAMS = -32700, -32600, -32602
MISMATCH, UNSUPPORTED = -32020, -32022
REFUSED = -32010
"""Of the range that servers may use as they like: a refusal of the mesh's, whose own code is in `data`."""
STATUSES = {PARSE: 400, INVALID: 400, MISMATCH: 400, UNSUPPORTED: 400}
MODERN_STATUSES = {**STATUSES, PARAMS: 400, NO_METHOD: 404}
"""Of errors: before the newest revision, what can be read is answered with 200."""
Number = int | str | None
NOBODYS: Number = None
"""The number of a request that could not be read."""
TOLD_TO_MODELS = frozenset(
    {"invalid_arguments", "content_policy_violation", "server_away", "server_broke", "server_slow", "server_denied",
     "server_full", "tool_asks"}
)  # fmt: skip
"""Refusals of one call that whoever asked for it may do something about: a result that says so, as the protocol wants it."""
BEHIND = frozenset(
    {"tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list", "resources/templates/list", "resources/read"}
)  # fmt: skip
"""What is answered behind the edge."""
UNKNOWN = frozenset({"tool_not_found", "prompt_not_found", "resource_not_found"})
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""What the header `mcp-name` repeats of a request of the newest revision."""
ANNOTATIONS = {ours: theirs for theirs, ours in HINTS.items()}


class Message(Struct):
    """A request, or what needs no answer: that has no id."""

    jsonrpc: str
    method: str | None = None
    id: int | str | UnsetType = UNSET
    params: dict[str, Any] | None = None

    @property
    def answered(self) -> bool:
        """Whether it wants an answer: no notification, and no answer itself."""
        return self.method is not None and self.id is not UNSET

    @property
    def number(self) -> Number:
        return None if self.id is UNSET else self.id

    @property
    def said(self) -> Mapping[str, Any]:
        return self.params or {}

    def meta(self, name: str) -> Any:
        found = self.said.get("_meta")
        return found.get(f"{PREFIX}{name}") if isinstance(found, dict) else None


class Fault(Exception):
    """An error of the protocol's."""

    def __init__(self, code: int, words: str, data: Any = None) -> None:
        super().__init__(words)
        self.code, self.words, self.data = code, words, data


_MESSAGE = msgspec.json.Decoder(Message)


def parsed(raw: bytes) -> Message:
    """
    Raises:
        Fault: not JSON, or not one message.
    """
    try:
        made = _MESSAGE.decode(raw)
    except msgspec.ValidationError:
        raise Fault(INVALID, "the body must be one JSON-RPC request or notification") from None
    except (msgspec.DecodeError, RecursionError):
        raise Fault(PARSE, "the body is not JSON, or nested too deeply") from None
    if made.jsonrpc != "2.0":
        raise Fault(INVALID, "jsonrpc must be 2.0")
    return made


def modern(asked: Message, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request speaks for itself. What its headers tell must be what it says.

    Raises:
        Fault: they disagree, or it speaks a revision that nobody knows here.
    """
    header = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
    version = asked.meta("protocolVersion")
    if version is None:
        if header and header not in HANDSHAKE:
            raise _unsupported(header)
        return False
    if not isinstance(asked.meta("clientCapabilities"), dict):
        raise Fault(PARAMS, f"params._meta has no {PREFIX}clientCapabilities")
    if header != version:
        raise Fault(MISMATCH, "the header mcp-protocol-version is not what params._meta says")
    if headers.get(b"mcp-method", b"").decode("latin-1") != asked.method:
        raise Fault(MISMATCH, "the header mcp-method is not the method")
    named_by = NAMED.get(asked.method or "")
    if named_by is not None and of_header(headers.get(b"mcp-name", b"")) != asked.said.get(named_by):
        raise Fault(MISMATCH, f"the header mcp-name is not params.{named_by}")
    if version != MODERN:
        raise _unsupported(version)
    return True


def welcome(asked: Message) -> dict[str, Any]:
    """Answers `initialize`: in the revision that is asked for, or in the latest that begins so."""
    wanted = asked.said.get("protocolVersion")
    version = wanted if wanted in HANDSHAKE else HANDSHAKE[0]
    return {"protocolVersion": version, "capabilities": ABLE, "serverInfo": US}


def discovered() -> dict[str, Any]:
    return {"supportedVersions": [MODERN, *HANDSHAKE], "capabilities": ABLE, "ttlMs": 3_600_000, "cacheScope": "public"}


def cursor(asked: Message, longest: int = 256) -> str:
    """From where on something is listed.

    Raises:
        Fault: the cursor is none of ours.
    """
    said = asked.said.get("cursor")
    if said is not None and not (isinstance(said, str) and len(said) <= longest):
        raise Fault(PARAMS, "cursor is none of ours")
    return said or ""


def listed(made: pb.ListToolsResponse, server: str) -> dict[str, Any]:
    """The tools; those of one server by its own names."""
    return page("tools", [_tool(one, server) for one in made.tools], made.next_page_token)


def page(what: str, found: list[dict[str, Any]], more: str) -> dict[str, Any]:
    """`private`: what is offered goes by the key."""
    said: dict[str, Any] = {what: found, "ttlMs": 0, "cacheScope": "private"}
    return {**said, "nextCursor": more} if more else said


def call(asked: Message, server: str) -> pb.CallToolRequest:
    """
    Raises:
        Fault: it names no tool, or its arguments are no object.
        Refusal: they are nested too deeply.
    """
    name, arguments = asked.said.get("name"), asked.said.get("arguments")
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise Fault(PARAMS, "name must be a tool's name")
    if arguments is not None and not isinstance(arguments, dict):
        raise Fault(PARAMS, "arguments must be an object")
    return pb.CallToolRequest(
        name=named(server, name) if server else name,
        arguments_json=as_json(arguments, "arguments") if arguments else "",
    )


def called(made: tools.Result) -> dict[str, Any]:
    said: dict[str, Any] = {"content": [content(one) for one in made.contents], "isError": made.failed}
    if made.structured_json:
        said["structuredContent"] = orjson.loads(made.structured_json)
    return said


def failed(words: str) -> dict[str, Any]:
    """A result that says why there is none."""
    return {"content": [{"type": "text", "text": words}], "isError": True}


def result(asked: Message, said: dict[str, Any], *, modern: bool) -> bytes:
    if modern:
        said |= {"resultType": "complete", "_meta": {f"{PREFIX}serverInfo": US}}
    return orjson.dumps({"jsonrpc": "2.0", "id": asked.number, "result": said})


def status(fault: Fault, *, modern: bool) -> int:
    return (MODERN_STATUSES if modern else STATUSES).get(fault.code, 200)


def error(fault: Fault, number: Number = NOBODYS) -> bytes:
    said = {"code": fault.code, "message": fault.words, **({"data": fault.data} if fault.data is not None else {})}
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "error": said})


def of_refusal(refusal: Refusal) -> Fault:
    """A refusal in the protocol's words; which it is stands in `data`."""
    data: dict[str, Any] = {"code": refusal.code, "type": refusal.type, "param": refusal.param}
    if wait := refusal.headers.get("retry-after"):
        data["retryAfter"] = int(wait)
    unknown = refusal.code in UNKNOWN
    return Fault(PARAMS if unknown else REFUSED, refusal.message, data)


def refused(refusal: Refusal) -> dict[str, Any]:
    """What is said where no message could be read, or of nobody."""
    found: dict[str, Any] = orjson.loads(error(of_refusal(refusal)))
    return found


def _unsupported(version: Any) -> Fault:
    supported = {"supported": [MODERN, *HANDSHAKE], "requested": version}
    return Fault(UNSUPPORTED, "Unsupported protocol version", supported)


def _tool(one: tools.Tool, server: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": own_name(one.name, server) if server else one.name,
        "inputSchema": orjson.loads(one.input_schema_json),
    }
    if one.title:
        said["title"] = one.title
    if one.description:
        said["description"] = one.description
    if one.output_schema_json:
        said["outputSchema"] = orjson.loads(one.output_schema_json)
    hints = {ANNOTATIONS[field.name]: value for field, value in one.hints.ListFields()}
    return {**said, "annotations": hints} if hints else said


def content(one: tools.Content) -> dict[str, Any]:
    match one.WhichOneof("content"):
        case "image":
            return {"type": "image", **_blob(one.image)}
        case "audio":
            return {"type": "audio", **_blob(one.audio)}
        case "resource":
            return {"type": "resource", "resource": document(one.resource)}
        case "link":
            link = one.link
            about = {"description": link.description, "mimeType": link.mime_type}
            told = {name: value for name, value in about.items() if value}
            return {"type": "resource_link", "uri": link.uri, "name": link.name, **told}
    return {"type": "text", "text": one.text}


def _blob(one: tools.Blob) -> dict[str, Any]:
    return {"data": base64.b64encode(one.data).decode(), "mimeType": one.mime_type}


def document(one: tools.Resource) -> dict[str, Any]:
    body = {"text": one.text} if one.HasField("text") else {"blob": base64.b64encode(one.data).decode()}
    return {"uri": one.uri, **({"mimeType": one.mime_type} if one.mime_type else {}), **body}
