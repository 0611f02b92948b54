"""Gemini's bodies as Google publishes them, typed: a wrong one is refused by place and rule."""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from services.edge.wire import body as wire
from services.edge.wire.body import Text
from services.edge.wire.errors import of_body
from services.edge.wire.signed import Signature
from services.edge.wire.tool_use import ToolName

MOST_CONTENTS, MOST_PARTS, MOST_EMBEDDED = 4096, 1024, 2048
Object = dict[str, Any]
FREE = frozenset(
    ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels", "tollway")
)  # fmt: skip
"""Fields whose own names are the caller's."""
SNAKE = re.compile("_([a-z0-9])")


class Wire(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What Gemini's bodies are made of."""


class Blob(Wire):
    mime_type: Annotated[str, Meta(min_length=1, max_length=128)]
    data: Annotated[str, Meta(min_length=1)]
    display_name: str | None = None


class FileData(Wire):
    file_uri: Annotated[str, Meta(min_length=1, max_length=4096)]
    mime_type: Annotated[str, Meta(max_length=128)] = ""
    display_name: str | None = None


class FunctionCall(Wire):
    name: ToolName
    args: Object | None = None
    id: Annotated[str, Meta(max_length=256)] | None = None


class FunctionResponse(Wire):
    name: ToolName
    response: Object
    id: Annotated[str, Meta(max_length=256)] | None = None
    will_continue: bool | None = None
    scheduling: str | None = None


class Part(Wire):
    """One thing that is said: of the first five at most one is there."""

    text: Text | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought: bool | None = None
    thought_signature: Signature | None = None
    # How finely a file is looked at: of no effect here.
    video_metadata: Object | None = None
    media_resolution: Any = None


class Content(Wire):
    parts: Annotated[list[Part], Meta(max_length=MOST_PARTS)] = []
    role: Literal["user", "model", "function", "system"] | None = None


class Declaration(Wire):
    name: ToolName
    description: str | None = None
    parameters: Object | None = None
    parameters_json_schema: Object | None = None
    # What comes back is the caller's to read.
    response: Object | None = None
    response_json_schema: Object | None = None
    behavior: str | None = None


class GoogleSearch(Wire):
    exclude_domains: wire.Domains | None = None


class Tool(Wire):
    function_declarations: Annotated[list[Declaration], Meta(max_length=512)] | None = None
    google_search: GoogleSearch | None = None


class CallingConfig(Wire):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: Annotated[list[ToolName], Meta(max_length=512)] | None = None
    stream_function_call_arguments: bool | None = None


class ToolConfig(Wire):
    function_calling_config: CallingConfig | None = None
    retrieval_config: Object | None = None


class Thinking(Wire):
    include_thoughts: bool | None = None
    thinking_budget: Annotated[int, Meta(ge=-1, lt=1 << 31)] | None = None
    thinking_level: str | None = None


class Config(Wire):
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[float, Meta(ge=1, lt=1 << 31)] | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=8)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)] | None = None
    presence_penalty: wire.Penalty | None = None
    frequency_penalty: wire.Penalty | None = None
    response_logprobs: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_mime_type: Literal["text/plain", "application/json"] | None = None
    response_schema: Object | None = None
    response_json_schema: Object | None = None
    response_modalities: list[Literal["TEXT"]] | None = None
    thinking_config: Thinking | None = None
    media_resolution: str | None = None
    enable_enhanced_civic_answers: bool | None = None


class Asked(Wire):
    """What is read of a request. `null` is the same as absent."""

    contents: Annotated[list[Content], Meta(min_length=1, max_length=MOST_CONTENTS)]
    model: str | None = None
    """As the path has it: the path's counts."""
    system_instruction: Content | None = None
    tools: Annotated[list[Tool], Meta(max_length=64)] | None = None
    tool_config: ToolConfig | None = None
    generation_config: Config | None = None
    # Accepted and of no effect here: the tenant's own policy says what is let through.
    safety_settings: list[Object] | None = None
    service_tier: str | None = None
    store: bool | None = None
    labels: wire.Metadata | None = None
    tollway: Any = None
    """How Tollway is to treat the request: see [services.edge.wire.options][]."""


class Counted(Wire):
    contents: Annotated[list[Content], Meta(max_length=MOST_CONTENTS)] | None = None
    generate_content_request: Asked | None = None


class Embedded(Wire):
    content: Content
    model: str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: Annotated[int, Meta(ge=1, le=16384)] | None = None


class Batch(Wire):
    requests: Annotated[list[Embedded], Meta(min_length=1, max_length=MOST_EMBEDDED)]


T = TypeVar("T")


def read(kind: type[T], raw: bytes) -> T:
    """A body of `kind`, whose fields may be named `as_here` or `asHere`, as Google takes them.

    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    try:
        return msgspec.convert(_camel(msgspec.json.decode(raw)), kind)
    except msgspec.MsgspecError as error:
        raise of_body(error) from None


def _camel(said: Any) -> Any:
    if isinstance(said, list):
        return [_camel(one) for one in said]
    if not isinstance(said, dict):
        return said
    named = {SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in said.items()}
    return {name: value if name in FREE else _camel(value) for name, value in named.items()}
