"""Tools of MCP servers that the mesh calls while it answers, as Anthropic's bodies ask for them."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import unfit
from services.edge.wire.tool_use import NEVER, NOT_HERE, ONE, McpTool, Server, ToolName, used

TOOLSET = "mcp_toolset"


class Enabled(Struct):
    enabled: bool | None = None


class Toolset(NamedTuple):
    """Which tools of a server a model may call."""

    server: str | None
    usual: Enabled | None
    configs: Mapping[str, Enabled]


class McpConfiguration(Struct):
    enabled: bool | None = None
    allowed_tools: Annotated[list[ToolName], Meta(max_length=256)] | None = None


class McpServer(Struct):
    """Whose tools the mesh calls: one of the settings, by its name."""

    name: Server
    url: Annotated[str, Meta(max_length=512)]
    type: Literal["url"] = "url"
    authorization_token: str | None = None
    tool_configuration: McpConfiguration | None = None


def connected(made: pb.ToolUse, servers: Iterable[McpServer], sets: Iterable[tuple[int, Toolset]]) -> None:
    """Adds the servers, and what the sets choose of their tools; each set with its place among the tools.

    Raises:
        Refusal: a server that is elsewhere, or a choice of tools that cannot be kept to.
    """
    chosen = {one.server: _chosen(one, f"tools[{n}]") for n, one in sets}
    for n, one in enumerate(servers):
        told = one.tool_configuration or McpConfiguration()
        if told.enabled is False:
            continue
        if one.authorization_token is not None:
            raise unfit(f"mcp_servers[{n}].authorization_token", f"none: {NOT_HERE}")
        url = None if one.url == f"{ONE[0]}{one.name}" else one.url
        allowed = chosen.get(one.name, told.allowed_tools)
        said = McpTool(server_label=one.name, server_url=url, allowed_tools=allowed, require_approval=NEVER)
        used(made, [(n, said)], room="mcp_servers", url="url")


def _chosen(one: Toolset, at: str) -> list[str] | None:
    """The only tools of a set; None for all of them.

    Raises:
        Refusal: all but some.
    """
    if one.usual is not None and one.usual.enabled is False:
        return [name for name, config in one.configs.items() if config.enabled is not False]
    if any(config.enabled is False for config in one.configs.values()):
        raise unfit(f"{at}.configs", "name those that are wanted, with `default_config: {enabled: false}`")
    return None
