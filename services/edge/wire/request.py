"""OpenAI's request in our words."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import body as wire
from services.edge.wire.errors import Refusal, as_json, decoded, from_base64, missing
from services.edge.wire.options import options
from services.edge.wire.prompt import named
from services.edge.wire.signed import handed_in
from services.edge.wire.token_ids import text_of
from services.edge.wire.tool_use import used

_CHAT = msgspec.json.Decoder(wire.ChatBody)
_EMBEDDING = msgspec.json.Decoder(wire.EmbeddingBody)
MOST_TEXTS, MOST_SEARCHES = 2048, 20
MODES = {
    "none": chat.ToolChoice.MODE_NONE,
    "auto": chat.ToolChoice.MODE_AUTO,
    "required": chat.ToolChoice.MODE_REQUIRED,
}
SAME = (
    "temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs",
    "parallel_tool_calls", "reasoning_effort", "verbosity", "service_tier", "top_k", "min_p", "repetition_penalty",
)  # fmt: skip


class Sampled(Protocol):
    """A body of either of OpenAI's completions."""

    stop: str | list[str] | None
    logit_bias: dict[str, float] | None
    stream_options: wire.StreamOptions | None


def parsed(raw: bytes) -> wire.ChatBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    body = decoded(_CHAT, raw)
    if body.prompt is None and not (body.model and body.messages):
        raise missing("messages" if body.model else "model")
    return body


def chat_request(body: wire.ChatBody) -> chat.ChatRequest:
    """The conversation in our words."""
    made = chat.ChatRequest(model=body.model)
    for n, message in enumerate(body.messages):
        _message(made.messages.add(), message, f"messages[{n}]")
    taken(made, body, SAME)
    made.user = body.user or body.safety_identifier or ""
    limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    if limit is not None:
        made.max_output_tokens = limit
    if body.metadata:
        made.metadata.update(body.metadata)
    for name, value in (body.chat_template_kwargs or {}).items():
        _template_option(made.template_options.add(name=name), value)
    for n, tool in enumerate(body.tools or ()):
        if tool.type == "function":
            _tool(made.tools.add(), tool.function, f"tools[{n}]")
    if isinstance(body.tool_choice, str):
        made.tool_choice.mode = MODES[body.tool_choice]
    elif body.tool_choice is not None:
        made.tool_choice.mode = chat.ToolChoice.MODE_FUNCTION
        made.tool_choice.function = body.tool_choice.function.name
    if body.response_format is not None:
        _format(made.response_format, body.response_format)
    if (search := body.web_search_options) is not None:
        near = search.user_location.approximate if search.user_location is not None else None
        made.web_search.CopyFrom(searched(near, context_size=search.search_context_size or ""))
    return made


def wanted(body: wire.ChatBody, headers: Mapping[bytes, bytes]) -> pb.Options:
    """How it is to be treated.

    Raises:
        Refusal
    """
    made = named(options(bytes(body.tollway), headers), body.prompt)
    if found := [(n, tool) for n, tool in enumerate(body.tools or ()) if tool.type == "mcp"]:
        used(made.tools, found)
    return made


def searched(near: wire.Near | None, most: int | None = None, **more: Any) -> chat.WebSearch:
    """A search of the web, about where the asker is."""
    made = chat.WebSearch(most=most and min(most, MOST_SEARCHES), **more)
    if near is not None:
        for name in wire.PLACE:
            setattr(made, name, getattr(near, name) or "")
    return made


def taken(made: chat.ChatRequest, body: "Sampled", same: Iterable[str]) -> None:
    """Takes over what both of OpenAI's bodies say in the same words."""
    for name in same:
        if (value := getattr(body, name)) is not None:
            setattr(made, name, value)
    if body.stop is not None:
        made.stop.extend([body.stop] if isinstance(body.stop, str) else body.stop)
    if body.logit_bias:
        made.logit_bias.update(body.logit_bias)
    made.include_usage = bool(body.stream_options and body.stream_options.include_usage)


def _template_option(made: chat.TemplateOption, value: bool | float | str) -> None:
    match value:
        case bool():
            made.truth = value
        case str():
            made.word = value
        case _:
            made.number = value


def embed_request(raw: bytes) -> tuple[pb.EmbedRequest, bool]:
    """The request, and whether vectors are wanted in base64.

    Raises:
        Refusal: as for `parsed`.
    """
    body = decoded(_EMBEDDING, raw)
    texts = _texts(body.input)
    if empty := next((f"input[{n}]" for n, text in enumerate(texts) if not text), None):
        raise Refusal(400, "invalid_value", f"invalid value for {empty}: it is empty", param="input")
    made = pb.EmbedRequest(model=body.model, texts=texts, dimensions=body.dimensions or 0)
    return made, body.encoding_format == "base64"


def _texts(said: str | list[str | int | list[int]]) -> list[str]:
    """
    Raises:
        Refusal: too many, ids among texts, or an id that is none.
    """
    if isinstance(said, str):
        return [said]
    ids = [one for one in said if isinstance(one, int)]
    if len(ids) == len(said):
        return [text_of(ids, "input")]
    if ids or len(said) > MOST_TEXTS:
        rule = "ids of tokens stand alone, or in lists" if ids else f"at most {MOST_TEXTS} texts"
        raise Refusal(400, "invalid_value", f"invalid value for input: {rule}", param="input")
    return [text_of(one, f"input[{n}]") if isinstance(one, list) else str(one) for n, one in enumerate(said)]


def _message(made: chat.Message, said: wire.Message, at: str) -> None:
    match said:
        case wire.System():
            made.role = chat.ROLE_SYSTEM
        case wire.Developer():
            made.role = chat.ROLE_DEVELOPER
        case wire.User():
            made.role = chat.ROLE_USER
        case wire.Assistant():
            made.role = chat.ROLE_ASSISTANT
            if said.refusal is not None:
                made.refusal = said.refusal
            made.reasoning = said.reasoning_content or ""
            made.thoughts.extend(handed_in(one.signature for one in said.thinking_blocks or ()))
            for call in said.tool_calls or ():
                one = made.tool_calls.add(id=call.id, name=call.function.name, arguments=call.function.arguments)
                one.signature = call.extra_content.signature if call.extra_content is not None else ""
        case wire.ToolResult():
            made.role = chat.ROLE_TOOL
            made.tool_call_id = said.tool_call_id
    if not isinstance(said, wire.ToolResult) and said.name:
        made.name = said.name
    if isinstance(said.content, str):
        made.parts.add(text=said.content)
    else:
        for n, part in enumerate(said.content or ()):
            _part(made.parts.add(), part, f"{at}.content[{n}]")


def _part(
    made: chat.ContentPart,
    said: wire.TextPart | wire.ImagePart | wire.AudioPart | wire.FilePart | wire.RefusalPart,
    at: str,
) -> None:
    match said:
        case wire.TextPart():
            made.text, made.cache_mark = said.text, said.cache_control is not None
        case wire.RefusalPart():
            made.refusal = said.refusal
        case wire.ImagePart():
            made.image.url, made.image.detail = said.image_url.url, said.image_url.detail or ""
        case wire.AudioPart():
            made.audio.data = from_base64(said.input_audio.data, f"{at}.input_audio.data")
            made.audio.format = said.input_audio.format
        case wire.FilePart():
            made.file.filename, made.file.data = said.file.filename or "", said.file.file_data or ""
            made.file.file_id = said.file.file_id or ""


def _tool(made: chat.Tool, said: wire.Function | None, at: str) -> None:
    if said is None:
        raise missing(f"{at}.function")
    made.name, made.description = said.name, said.description or ""
    if said.parameters is not None:
        made.parameters_json = as_json(said.parameters, f"{at}.function.parameters")
    if said.strict is not None:
        made.strict = said.strict


def _format(made: chat.ResponseFormat, said: wire.TextFormat | wire.ObjectFormat | wire.SchemaFormat) -> None:
    match said:
        case wire.TextFormat():
            made.type = chat.ResponseFormat.TYPE_TEXT
        case wire.ObjectFormat():
            made.type = chat.ResponseFormat.TYPE_JSON_OBJECT
        case wire.SchemaFormat():
            schema = said.json_schema
            made.type = chat.ResponseFormat.TYPE_JSON_SCHEMA
            made.name, made.description = schema.name, schema.description or ""
            if schema.schema is not None:
                made.schema_json = as_json(schema.schema, "response_format.json_schema.schema")
            if schema.strict is not None:
                made.strict = schema.strict
