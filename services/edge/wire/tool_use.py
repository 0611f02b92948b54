"""Tools of MCP servers that the mesh calls while it answers, as OpenAI's bodies ask for them."""

from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import Refusal, missing

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


def used(made: pb.ToolUse, said: Iterable[tuple[int, McpTool]], most: int | None = None) -> None:
    """Adds the servers that are said, by their places among the tools, and their tools.

    Raises:
        Refusal: a server that is elsewhere, or calls that somebody is to approve.
    """
    for n, one in said:
        at = f"tools[{n}]"
        servers = _servers(one, at)
        if one.require_approval != NEVER:
            raise Refusal(
                400, "unsupported_value", f"{at}.require_approval: nobody can be asked before a call; say `never`",
                param=f"{at}.require_approval",
            )  # fmt: skip
        for name in ("headers", "authorization", "connector_id"):
            if getattr(one, name) is not None:
                raise Refusal(400, "unsupported_value", f"{at}.{name}: {NOT_HERE}", param=f"{at}.{name}")
        wanted = one.allowed_tools.tool_names if isinstance(one.allowed_tools, Allowed) else one.allowed_tools
        made.servers.extend(servers)
        if wanted is None:
            made.tools.extend(f"{server}__*" for server in servers or ("*",))
        elif len(servers) == 1:
            made.tools.extend(name if "__" in name else f"{servers[0]}__{name}" for name in wanted)
        else:
            made.tools.extend(wanted)
    if most is not None:
        made.most_calls = min(most, MOST_CALLS)


def add_step(messages: Any, one: chat.ToolStep) -> None:
    """A call that was made, as a model reads it: that it asked, and what it was told."""
    asked = messages.add(role=chat.ROLE_ASSISTANT)
    asked.tool_calls.add(id=one.id, name=f"{one.server}__{one.name}", arguments=one.arguments)
    messages.add(role=chat.ROLE_TOOL, tool_call_id=one.id, failed=one.failed).parts.add(text=one.output)


def _servers(one: McpTool, at: str) -> list[str]:
    """The servers; none for all of them."""
    url = (one.server_url or "").rstrip("/")
    if url in EVERY:
        return []
    for prefix in ONE:
        if url.startswith(prefix):
            return [name.strip() for name in url.removeprefix(prefix).split(",") if name.strip()]
    if url:
        raise Refusal(400, "unsupported_value", f"{at}.server_url: {NOT_HERE}: leave it out", param=f"{at}.server_url")
    if one.server_label is None:
        raise missing(f"{at}.server_label")
    return [one.server_label]
