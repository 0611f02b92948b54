"""The body of a chat completion request as OpenAI publishes it, typed: a wrong one is refused by place and rule."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from services.edge.wire.prompt import Prompt
from services.edge.wire.signed import Extra, ThinkingBlock
from services.edge.wire.tool_use import McpTool

Name = Annotated[str, Meta(min_length=1, max_length=256)]
CallId = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=10_485_760)]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority"]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TopK = Annotated[int, Meta(ge=1, lt=1 << 31)]
TemplateName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
TemplateWord = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,32}$")]
"""No text: what a template is told is not seen by the guard."""


Metadata = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
ContextSize = Literal["low", "medium", "high"]
Domains = Annotated[list[Annotated[str, Meta(min_length=1, max_length=253)]], Meta(max_length=100)]


class CacheControl(Struct):
    """A mark for a provider's own cache: no field of OpenAI's, but one that its clients send to Anthropic's models."""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: Literal["5m", "1h"] | None = None


class TextPart(Struct, tag_field="type", tag="text"):
    text: str
    cache_control: CacheControl | None = None


class ImageUrl(Struct):
    url: Annotated[str, Meta(min_length=1)]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Struct, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class InputAudio(Struct):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Struct, tag_field="type", tag="input_audio"):
    input_audio: InputAudio


class FileBody(Struct):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class FilePart(Struct, tag_field="type", tag="file"):
    file: FileBody


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str


class CalledFunction(Struct):
    name: str
    arguments: str


class ToolCall(Struct):
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    extra_content: Extra | None = None
    """No field of OpenAI's, but one that its clients hand back to Google's models."""


TextContent = str | list[TextPart]


class System(Struct, tag_field="role", tag="system"):
    content: TextContent
    name: str | None = None


class Developer(Struct, tag_field="role", tag="developer"):
    content: TextContent
    name: str | None = None


class User(Struct, tag_field="role", tag="user"):
    content: str | Annotated[list[TextPart | ImagePart | AudioPart | FilePart], Meta(min_length=1)]
    name: str | None = None


class Assistant(Struct, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning_content: str | None = None
    thinking_blocks: Annotated[list[ThinkingBlock], Meta(max_length=256)] | None = None


class ToolResult(Struct, tag_field="role", tag="tool"):
    content: TextContent
    tool_call_id: str


Message = System | Developer | User | Assistant | ToolResult


class Function(Struct):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(McpTool):
    """A function of the caller's, or a server whose tools the mesh calls."""

    type: Literal["function", "mcp"] = "function"
    function: Function | None = None


class NamedFunction(Struct):
    name: Name


class NamedTool(Struct):
    function: NamedFunction
    type: Literal["function"] = "function"


class Schema(Struct):
    name: Name
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextFormat(Struct, tag_field="type", tag="text"):
    pass


class ObjectFormat(Struct, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Struct, tag_field="type", tag="json_schema"):
    json_schema: Schema


class StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


PLACE = ("city", "region", "country", "timezone")


class Near(Struct):
    """Where the asker is, about."""

    city: Annotated[str, Meta(max_length=128)] | None = None
    region: Annotated[str, Meta(max_length=128)] | None = None
    country: Annotated[str, Meta(pattern="^[A-Za-z]{2}$")] | None = None
    timezone: Annotated[str, Meta(max_length=64)] | None = None


class Located(Near):
    """The same where it is not told a step further in."""

    type: Literal["approximate"] = "approximate"


class UserLocation(Struct):
    approximate: Near
    type: Literal["approximate"] = "approximate"


class WebSearchOptions(Struct):
    search_context_size: ContextSize | None = None
    user_location: UserLocation | None = None


class ChatBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent, as it is for OpenAI."""

    model: Name = ""
    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)] = []
    prompt: Prompt | None = None
    """A template to begin with: it may name the model, and say the messages."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=512)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    metadata: Metadata | None = None
    web_search_options: WebSearchOptions | None = None
    modalities: list[Literal["text"]] | None = None
    top_k: TopK | None = None
    """This and the next three are what servers of open models take beside OpenAI's fields."""
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    chat_template_kwargs: Annotated[dict[TemplateName, bool | float | TemplateWord], Meta(max_length=16)] | None = None
    tollway: Raw = Raw()
    """How Tollway is to treat the request: see [services.edge.wire.options][]."""
    service_tier: ServiceTier | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    """The end user, where `user` does not say it."""
    # Accepted and of no effect here: they tune OpenAI's own storage and prompt cache.
    store: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prediction: dict[str, Any] | None = None


class EmbeddingBody(Struct, forbid_unknown_fields=True):
    """The body of an embeddings request."""

    model: Name
    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=1 << 20)]
    """A text, or up to 2048; each may be the ids of its tokens."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=16384)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
