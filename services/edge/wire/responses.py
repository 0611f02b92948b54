"""OpenAI's Responses in our words: the body of `POST /v1/responses`, typed, and the conversation that it asks for."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import body as wire
from services.edge.wire import input_items, options, own_tools
from services.edge.wire.body import Text
from services.edge.wire.errors import Refusal, as_json, decoded, missing
from services.edge.wire.file_search import RESULTS, FileSearch, ground
from services.edge.wire.input_items import Id
from services.edge.wire.own_tools import Custom, Function, Namespace
from services.edge.wire.prompt import Prompt, named
from services.edge.wire.request import MODES, searched
from services.edge.wire.tool_use import McpTool, used


class Sites(Struct):
    allowed_domains: wire.Domains | None = None
    blocked_domains: wire.Domains | None = None


class Search(Struct, tag_field="type", tag="web_search"):
    search_context_size: wire.ContextSize | None = None
    filters: Sites | None = None
    user_location: wire.Located | None = None


class Preview(Search, tag_field="type", tag="web_search_preview"):
    """The same, by its first name."""


class Mcp(McpTool, tag_field="type", tag="mcp"):
    """A server whose tools the mesh calls."""


class NamedTool(Struct):
    type: Literal["function", "custom"]
    name: wire.Name
    namespace: wire.Name | None = None


class TextFormat(Struct, tag_field="type", tag="text"):
    pass


class ObjectFormat(Struct, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Struct, tag_field="type", tag="json_schema"):
    name: wire.Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextOptions(Struct):
    format: TextFormat | ObjectFormat | SchemaFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class Conversation(Struct):
    id: Id


class ResponsesBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent."""

    model: wire.Name = ""
    input: Text | Annotated[list[Raw], Meta(min_length=1, max_length=4096)] = ""
    prompt: Prompt | None = None
    """A template to begin with: it may name the model, and say the input."""
    instructions: Text | None = None
    background: bool | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    tools: (
        Annotated[list[Function | Custom | Namespace | Search | Preview | Mcp | FileSearch], Meta(max_length=512)]
        | None
    ) = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    """Of those that are made on the way to the answer: searches of the provider's, tools that the mesh calls."""
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    metadata: wire.Metadata | None = None
    tollway: Raw = Raw()
    previous_response_id: Annotated[str, Meta(max_length=128)] | None = None
    conversation: Id | Conversation | None = None
    truncation: Literal["auto", "disabled"] | None = None
    store: bool | None = None
    """Whether it is kept; what the edge is set to where it is not said."""
    service_tier: wire.ServiceTier | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    """The end user, where `user` does not say it."""
    # Accepted and of no effect here: they tune OpenAI's own service.
    client_metadata: dict[str, Any] | None = None
    include: list[str] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    stream_options: dict[str, Any] | None = None


_BODY = msgspec.json.Decoder(ResponsesBody)
PATH, AUTO = "/v1/responses", "auto"
HARDEST = {"max": "xhigh", "ultra": "xhigh"}
"""How hard to think at most, by more words than there are for it elsewhere."""
NONE: Mapping[str, chat.Message] = {}


def parsed(raw: bytes) -> ResponsesBody:
    """
    Raises:
        Refusal: a field that breaks a rule, or fields that do not go together.
    """
    body = decoded(_BODY, raw)
    if body.prompt is None and not (body.model and body.input):
        raise missing("input" if body.model else "model")
    return _together(body)


def counted(raw: bytes) -> ResponsesBody:
    """Of a request that is only counted: nothing of it must be there.

    Raises:
        Refusal: a field that breaks a rule, or fields that do not go together.
    """
    body = decoded(_BODY, raw)
    body.model = body.model or AUTO
    return _together(body)


def _together(body: ResponsesBody) -> ResponsesBody:
    if body.background and body.stream:
        raise Refusal(400, "unsupported_value", "a background response cannot be streamed: ask for it by its id",
                      param="stream")  # fmt: skip
    if body.background and body.store is False:
        raise Refusal(400, "unsupported_value", "a background response must be kept to be asked for", param="store")
    if body.conversation is not None and body.previous_response_id is not None:
        raise Refusal(400, "unsupported_value", "it goes on from a response or from a conversation, not from both",
                      param="previous_response_id")  # fmt: skip
    return body


def chat_request(
    body: ResponsesBody,
    before: Iterable[chat.Message] = (),
    known: Mapping[str, chat.Message] = NONE,
    tools: Iterable[chat.Tool] = (),
) -> chat.ChatRequest:
    """The conversation in our words; it goes on from `before`, which has `tools`. `known` are the items that it only names.

    Raises:
        Refusal: an item that is none.
    """
    made = chat.ChatRequest(model=body.model, include_usage=True, tools=tools)
    if body.instructions:
        made.messages.add(role=chat.ROLE_SYSTEM).parts.add(text=body.instructions)
    made.messages.extend(before)
    if isinstance(body.input, str) and body.input:
        made.messages.add(role=chat.ROLE_USER).parts.add(text=body.input)
    elif not isinstance(body.input, str):
        said, more = input_items.read(body.input, "input", known)
        made.messages.extend(said)
        made.tools.extend(more)
    for name in ("temperature", "top_p", "max_output_tokens", "parallel_tool_calls", "service_tier"):
        if (value := getattr(body, name)) is not None:
            setattr(made, name, value)
    for n, tool in enumerate(body.tools or ()):
        if isinstance(tool, Search):
            made.web_search.CopyFrom(_search(tool, body.max_tool_calls))
            continue
        if not isinstance(tool, Mcp | FileSearch):
            own_tools.add(made, tool, f"tools[{n}]")
    if made.HasField("web_search") and made.tools:
        made.web_search.offered = True
    if isinstance(body.tool_choice, str):
        made.tool_choice.mode = MODES[body.tool_choice]
    elif body.tool_choice is not None:
        made.tool_choice.mode = chat.ToolChoice.MODE_FUNCTION
        made.tool_choice.function = own_tools.joined(body.tool_choice.namespace, body.tool_choice.name)
    if body.text is not None:
        _text(made, body.text)
    if body.reasoning is not None and body.reasoning.effort is not None:
        made.reasoning_effort = HARDEST.get(body.reasoning.effort, body.reasoning.effort)
    made.metadata.update(body.metadata or {})
    made.user = body.user or body.safety_identifier or ""
    return made


def wanted(body: ResponsesBody, headers: Mapping[bytes, bytes]) -> pb.Options:
    """How it is to go down the road.

    Raises:
        Refusal: a tool that the mesh cannot use so.
    """
    made = named(options.options(bytes(body.tollway), headers), body.prompt)
    made.turn.instructed = bool(body.instructions)
    made.fit_context |= body.truncation == "auto"
    tool_use(made.tools, body)
    file_search(made, body)
    return made


def tool_use(made: pb.ToolUse, body: ResponsesBody) -> None:
    """Adds the servers whose tools the mesh calls, where there are any.

    Raises:
        Refusal: a server that is elsewhere, or calls that somebody is to approve.
    """
    if found := [(n, tool) for n, tool in enumerate(body.tools or ()) if isinstance(tool, Mcp)]:
        used(made, found, body.max_tool_calls)


def file_search(made: pb.Options, body: ResponsesBody) -> None:
    """Adds the vector stores that the answer is to rest on, where there are any.

    Raises:
        Refusal: filters or a threshold that passages cannot be held to.
    """
    for n, tool in enumerate(body.tools or ()):
        if isinstance(tool, FileSearch):
            ground(made.grounding, tool, f"tools[{n}]")
            made.grounding.passages = RESULTS in (body.include or ())


def _search(tool: Search, most: int | None) -> chat.WebSearch:
    sites = tool.filters or Sites()
    return searched(
        tool.user_location, most, context_size=tool.search_context_size or "", allowed_domains=sites.allowed_domains,
        blocked_domains=sites.blocked_domains,
    )  # fmt: skip


def _text(made: chat.ChatRequest, said: TextOptions) -> None:
    if said.verbosity is not None:
        made.verbosity = said.verbosity
    match said.format:
        case ObjectFormat():
            made.response_format.type = chat.ResponseFormat.TYPE_JSON_OBJECT
        case SchemaFormat(name=name, schema=schema, description=description, strict=strict):
            made.response_format.type = chat.ResponseFormat.TYPE_JSON_SCHEMA
            made.response_format.name, made.response_format.description = name, description or ""
            made.response_format.schema_json = as_json(schema, "text.format.schema")
            if strict is not None:
                made.response_format.strict = strict
