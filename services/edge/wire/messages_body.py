"""The body of `POST /v1/messages` as Anthropic publishes it, typed: a wrong one is refused by place and rule."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from services.edge.wire import body as wire
from services.edge.wire.body import CallId, Text
from services.edge.wire.tool_use import Server, ToolName
from services.edge.wire.toolsets import Enabled, McpServer, Toolset


class TextBlock(Struct, tag_field="type", tag="text"):
    text: Text
    cache_control: wire.CacheControl | None = None


class Inline(Struct, tag_field="type", tag="base64"):
    media_type: Annotated[str, Meta(min_length=1, max_length=128)]
    data: Annotated[str, Meta(min_length=1)]


class Linked(Struct, tag_field="type", tag="url"):
    url: Annotated[str, Meta(min_length=1)]


class Plain(Struct, tag_field="type", tag="text"):
    data: Text
    media_type: Literal["text/plain"] = "text/plain"


class ImageBlock(Struct, tag_field="type", tag="image"):
    source: Inline | Linked
    cache_control: wire.CacheControl | None = None


class DocumentBlock(Struct, tag_field="type", tag="document"):
    source: Inline | Plain
    title: Annotated[str, Meta(max_length=1024)] | None = None
    cache_control: wire.CacheControl | None = None


class ToolUse(Struct, tag_field="type", tag="tool_use"):
    id: CallId
    name: wire.Name
    input: Raw
    cache_control: wire.CacheControl | None = None


class ToolResult(Struct, tag_field="type", tag="tool_result"):
    tool_use_id: CallId
    content: Text | list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool | None = None
    cache_control: wire.CacheControl | None = None


class Thinking(Struct, tag_field="type", tag="thinking"):
    thinking: Text
    signature: str = ""


class Redacted(Struct, tag_field="type", tag="redacted_thinking"):
    data: str


class ServerToolUse(Struct, tag_field="type", tag="server_tool_use"):
    """Of an answer before, as what was found is."""

    id: CallId


class SearchResult(Struct, tag_field="type", tag="web_search_tool_result"):
    tool_use_id: CallId


class McpUse(Struct, tag_field="type", tag="mcp_tool_use"):
    """Of an answer before, as its result is: a tool that the mesh called."""

    id: CallId
    name: ToolName
    server_name: Server
    input: Raw


class McpResult(Struct, tag_field="type", tag="mcp_tool_result"):
    tool_use_id: CallId
    content: Text | list[TextBlock] | None = None
    is_error: bool | None = None


Block = (
    TextBlock | ImageBlock | DocumentBlock | ToolUse | ToolResult | Thinking | Redacted | ServerToolUse | SearchResult
    | McpUse | McpResult
)  # fmt: skip


class Turn(Struct):
    role: Literal["user", "assistant", "system"]
    """`system` is an instruction that comes in the middle of a conversation."""
    content: Text | list[Block]


class Tool(Struct):
    """One that the caller runs, the search that the provider does, or all that a server has."""

    name: wire.Name = ""
    type: str | None = None
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: wire.CacheControl | None = None
    max_uses: Annotated[int, Meta(ge=1)] | None = None
    allowed_domains: wire.Domains | None = None
    blocked_domains: wire.Domains | None = None
    user_location: wire.Located | None = None
    mcp_server_name: Server | None = None
    default_config: Enabled | None = None
    configs: dict[str, Enabled] | None = None

    @property
    def toolset(self) -> Toolset:
        return Toolset(self.mcp_server_name, self.default_config, self.configs or {})


class ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: wire.Name | None = None
    disable_parallel_tool_use: bool | None = None


class Metadata(Struct):
    user_id: Annotated[str, Meta(max_length=512)] | None = None


class ThinkingOptions(Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None
    display: str | None = None


class SchemaFormat(Struct, tag_field="type", tag="json_schema"):
    schema: dict[str, Any]


class OutputConfig(Struct):
    format: SchemaFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class CountBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is read of a request. `null` is the same as absent, as it is for Anthropic."""

    model: wire.Name
    messages: Annotated[list[Turn], Meta(min_length=1, max_length=4096)]
    system: Text | list[TextBlock] | None = None
    tools: Annotated[list[Tool], Meta(max_length=512)] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    thinking: ThinkingOptions | None = None
    # Accepted and of no effect here: it tunes Anthropic's own service.
    context_management: dict[str, Any] | None = None


class MessagesBody(CountBody, forbid_unknown_fields=True, kw_only=True):
    max_tokens: Annotated[int, Meta(ge=1, lt=1 << 31)]
    stop_sequences: Annotated[list[str], Meta(max_length=16)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: wire.TopK | None = None
    metadata: Metadata | None = None
    mcp_servers: Annotated[list[McpServer], Meta(max_length=64)] | None = None
    tollway: Raw = Raw()
    """How Tollway is to treat the request: see [services.edge.wire.options][]."""
    service_tier: Literal["auto", "standard_only"] | None = None
    """Accepted and of no effect, too."""
