"""Tools of MCP servers that the mesh calls while it answers, as OpenAI's bodies ask for them."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import Refusal, missing
from services.runtime import mcp

Server = Annotated[str, Meta(min_length=1, max_length=64)]
ToolName = Annotated[str, Meta(min_length=1, max_length=200)]
MOST_CALLS = 128
EVERY = ("tollway", "litellm_proxy", "litellm_proxy/mcp")
"""What stands for all servers, in place of an address; the latter two are what clients of LiteLLM say."""
ONE = ("tollway/", "litellm_proxy/mcp/")
"""Before the name of one, or of several between commas."""
NEVER = "never"
NOT_HERE = "servers are named in the settings, which say how each is shown who calls"


class Allowed(Struct):
    tool_names: Annotated[list[ToolName], Meta(max_length=256)] | None = None


class McpTool(Struct):
    """A server, and which of its tools. It is named by its label, or by an address that says so."""

    server_label: Server | None = None
    server_url: Annotated[str, Meta(max_length=512)] | None = None
    server_description: str | None = None
    allowed_tools: Annotated[list[ToolName], Meta(max_length=256)] | Allowed | None = None
    require_approval: str | dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    authorization: str | None = None
    connector_id: str | None = None


def used(
    made: pb.ToolUse,
    said: Iterable[tuple[int, McpTool]],
    most: int | None = None,
    *,
    room: str = "tools",
    url: str = "server_url",
) -> None:
    """Adds the servers that are said, by their places in `room`, and their tools; `url` is what an address is called there.

    Raises:
        Refusal: a server that is elsewhere, or calls that somebody is to approve.
    """
    for n, one in said:
        at = f"{room}[{n}]"
        servers = _servers(one, at, url)
        if one.require_approval != NEVER:
            raise _unsupported(f"{at}.require_approval", "nobody can be asked before a call; say `never`")
        for name in ("headers", "authorization", "connector_id"):
            if getattr(one, name) is not None:
                raise _unsupported(f"{at}.{name}", NOT_HERE)
        wanted = one.allowed_tools.tool_names if isinstance(one.allowed_tools, Allowed) else one.allowed_tools
        made.servers.extend(servers)
        if wanted is None:
            made.tools.extend(mcp.named(server, mcp.EVERY) for server in servers or (mcp.EVERY,))
        elif len(servers) == 1:
            made.tools.extend(name if mcp.BETWEEN in name else mcp.named(servers[0], name) for name in wanted)
        else:
            made.tools.extend(wanted)
    if most is not None:
        made.most_calls = min(most, MOST_CALLS)


def called(steps: Iterable[chat.ToolStep]) -> Iterator[chat.Message]:
    """Calls that were made, as a model reads them: that it asked for each, and what it was told."""
    for one in steps:
        call = chat.ToolCall(id=one.id, name=mcp.named(one.server, one.name), arguments=one.arguments)
        yield chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=[call])
        output = chat.ContentPart(text=one.output)
        yield chat.Message(role=chat.ROLE_TOOL, tool_call_id=one.id, failed=one.failed, parts=[output])


def _servers(one: McpTool, at: str, called: str) -> list[str]:
    """The servers; none for all of them."""
    url = (one.server_url or "").rstrip("/")
    if url in EVERY:
        return []
    for prefix in ONE:
        if url.startswith(prefix):
            return [name.strip() for name in url.removeprefix(prefix).split(",") if name.strip()]
    if url:
        raise _unsupported(f"{at}.{called}", f"{NOT_HERE}: leave it out, or say `tollway/NAME`")
    if one.server_label is None:
        raise missing(f"{at}.server_label")
    return [one.server_label]


def _unsupported(at: str, why: str) -> Refusal:
    return Refusal(400, "unsupported_value", f"{at}: {why}", param=at)
