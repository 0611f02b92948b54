"""Our chat request in OpenAI's words."""

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models.wires import sampling, searching, thinking
from services.models.wires.adapter import Target
from services.models.wires.enduser import opaque
from services.models.wires.pictures import words
from services.models.wires.signing import signature

ROLES = {
    chat.ROLE_SYSTEM: "system",
    chat.ROLE_DEVELOPER: "developer",
    chat.ROLE_USER: "user",
    chat.ROLE_ASSISTANT: "assistant",
    chat.ROLE_TOOL: "tool",
}
CHOICES = {
    chat.ToolChoice.MODE_NONE: "none",
    chat.ToolChoice.MODE_AUTO: "auto",
    chat.ToolChoice.MODE_REQUIRED: "required",
}
PLAIN = ("parallel_tool_calls", "temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "logprobs",
         "top_logprobs")  # fmt: skip
TIERED = frozenset({"openai", "azure", "groq"})
"""Providers that have tiers of service; another may refuse a word that it does not know."""
OWN_LIMIT = frozenset({"openai", "azure"})
"""Providers that want `max_completion_tokens`; the others know only the older word."""


def written(target: Target, request: chat.ChatRequest, *, stream: bool) -> dict[str, Any]:
    """The body to post."""
    request = sampling.defaulted(target, request)
    body = {**begun(target), "messages": _messages(request.messages, target.model)}
    body.update((name, getattr(request, name)) for name in PLAIN if request.HasField(name))  # type: ignore[arg-type]
    if request.HasField("max_output_tokens"):
        name = "max_completion_tokens" if target.entry.provider in OWN_LIMIT else "max_tokens"
        body[name] = min(request.max_output_tokens, target.entry.max_output_tokens)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.logit_bias:
        body["logit_bias"] = dict(request.logit_bias)
    if effort := thinking.openai(target, request.reasoning_effort):
        body["reasoning_effort"] = effort
    if request.verbosity:
        body["verbosity"] = request.verbosity
    if request.user:
        body["user"] = opaque(request.user)
    body.update(sampling.told(target, request))
    if request.service_tier and target.entry.provider in TIERED:
        body["service_tier"] = request.service_tier
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice.mode == chat.ToolChoice.MODE_FUNCTION:
        body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice.function}}
    elif request.tool_choice.mode:
        body["tool_choice"] = CHOICES[request.tool_choice.mode]
    if (shape := _response_format(request.response_format)) is not None:
        body["response_format"] = shape
    if (search := searching.asked(target, request)) is not None:
        body["web_search_options"] = searching.options(target, search)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def begun(target: Target) -> dict[str, Any]:
    """What every body says: the model, and what its entry adds for its provider alone."""
    own = {name: value for name, value in target.entry.defaults.items() if name not in sampling.DEFAULTED}
    return {**own, "model": target.model}


def _messages(messages: Iterable[chat.Message], model: str) -> list[dict[str, Any]]:
    """Results of tools are text on this wire: what they show beside it is shown by the user, after the last of them."""
    made: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for message in messages:
        one = _message(message, model)
        if message.role != chat.ROLE_TOOL:
            if shown:
                made.append({"role": "user", "content": shown})
                shown = []
        elif words(message) is None:
            more = [_part(part) for part in message.parts if part.WhichOneof("part") != "text"]
            shown += [{"type": "text", "text": f"From the result of {message.tool_call_id}:"}, *more]
            one["content"] = "".join(part.text for part in message.parts) or "See what the user shows next."
        made.append(one)
    return [*made, {"role": "user", "content": shown}] if shown else made


def _message(message: chat.Message, model: str) -> dict[str, Any]:
    made: dict[str, Any] = {"role": ROLES[message.role]}
    parts = message.parts
    if len(parts) == 1 and parts[0].WhichOneof("part") == "text":
        made["content"] = parts[0].text
    elif parts:
        made["content"] = [_part(part) for part in parts]
    elif message.role == chat.ROLE_ASSISTANT:
        made["content"] = None
    else:
        made["content"] = ""
    if message.name:
        made["name"] = message.name
    if message.HasField("refusal"):
        made["refusal"] = message.refusal
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **_signed(model, call, n),
            }
            for n, call in enumerate(message.tool_calls)
        ]
    if message.tool_call_id:
        made["tool_call_id"] = message.tool_call_id
    return made


def _signed(model: str, call: chat.ToolCall, place: int) -> dict[str, Any]:
    """As Google's OpenAI-compatible interface takes it."""
    signed = signature(model, call, place)
    return {"extra_content": {"google": {"thought_signature": signed}}} if signed else {}


def _part(part: chat.ContentPart) -> dict[str, Any]:
    match part.WhichOneof("part"):
        case "image":
            image = {"url": part.image.url} | ({"detail": part.image.detail} if part.image.detail else {})
            return {"type": "image_url", "image_url": image}
        case "audio":
            data = base64.b64encode(part.audio.data).decode()
            return {"type": "input_audio", "input_audio": {"data": data, "format": part.audio.format}}
        case "file":
            named = {"filename": part.file.filename, "file_data": part.file.data, "file_id": part.file.file_id}
            return {"type": "file", "file": {name: value for name, value in named.items() if value}}
        case "refusal":
            return {"type": "refusal", "refusal": part.refusal}
    return {"type": "text", "text": part.text}


def _tool(tool: chat.Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters_json:
        function["parameters"] = orjson.Fragment(tool.parameters_json)
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _response_format(asked: chat.ResponseFormat) -> dict[str, Any] | None:
    match asked.type:
        case chat.ResponseFormat.TYPE_TEXT:
            return {"type": "text"}
        case chat.ResponseFormat.TYPE_JSON_OBJECT:
            return {"type": "json_object"}
        case chat.ResponseFormat.TYPE_JSON_SCHEMA:
            schema: dict[str, Any] = {"name": asked.name, "schema": orjson.Fragment(asked.schema_json or "{}")}
            if asked.description:
                schema["description"] = asked.description
            if asked.HasField("strict"):
                schema["strict"] = asked.strict
            return {"type": "json_schema", "json_schema": schema}
    return None
