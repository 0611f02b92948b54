"""Our chat request in the words of OpenAI's Responses."""

from collections.abc import Iterable
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.wires import sampling, searching, thinking
from services.models.wires.adapter import Target
from services.models.wires.enduser import opaque
from services.models.wires.openai_request import CHOICES, ROLES, TIERED
from services.models.wires.pictures import words

PLAIN = ("parallel_tool_calls", "temperature", "top_p", "top_logprobs")


def written(target: Target, request: chat.ChatRequest, *, stream: bool) -> dict[str, Any]:
    """The body to post. Nothing is kept at the provider."""
    request = sampling.defaulted(target, request)
    if request.HasField("n") and request.n > 1:
        raise faults.Unsupported(model=target.name, what="give several answers at once")
    if request.stop:
        raise faults.Unsupported(model=target.name, what="be given stop sequences over this wire")
    sampling.told(target, request, sampling.NOTHING)
    body: dict[str, Any] = {"model": target.model, "input": _items(request.messages), "store": False}
    body.update((name, getattr(request, name)) for name in PLAIN if request.HasField(name))  # type: ignore[arg-type]
    if request.HasField("max_output_tokens"):
        body["max_output_tokens"] = min(request.max_output_tokens, target.entry.max_output_tokens)
    if request.user:
        body["user"] = opaque(request.user)
    if effort := thinking.openai(target, request.reasoning_effort):
        body["reasoning"] = {"effort": effort, "summary": "auto"}
    if request.service_tier and target.entry.provider in TIERED:
        body["service_tier"] = request.service_tier
    tools = [_tool(tool) for tool in request.tools]
    if (search := searching.asked(target, request)) is not None:
        tools.append(searching.tool(target, search))
        body["max_tool_calls"] = searching.most(search)
    if tools:
        body["tools"] = tools
    if request.tool_choice.mode == chat.ToolChoice.MODE_FUNCTION:
        body["tool_choice"] = {"type": "function", "name": request.tool_choice.function}
    elif request.tool_choice.mode:
        body["tool_choice"] = CHOICES[request.tool_choice.mode]
    if text := _text(request):
        body["text"] = text
    if stream:
        body["stream"] = True
    return body


def _items(messages: Iterable[chat.Message]) -> list[dict[str, Any]]:
    """Messages, calls and their results stand side by side."""
    items: list[dict[str, Any]] = []
    for message in messages:
        if message.role == chat.ROLE_TOOL:
            said = words(message)
            shown = [_part(part) for part in message.parts] if said is None else said
            items.append({"type": "function_call_output", "call_id": message.tool_call_id, "output": shown})
            continue
        if message.parts and message.role == chat.ROLE_ASSISTANT:
            said = "".join(part.text or part.refusal for part in message.parts)
            items.append({"type": "message", "role": "assistant", "content": said})
        elif message.parts:
            content = [_part(part) for part in message.parts]
            items.append({"type": "message", "role": ROLES[message.role], "content": content})
        items += [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in message.tool_calls
        ]
    return items


def _part(part: chat.ContentPart) -> dict[str, Any]:
    match part.WhichOneof("part"):
        case "image":
            return {"type": "input_image", "image_url": part.image.url, "detail": part.image.detail or "auto"}
        case "file":
            named = {"filename": part.file.filename, "file_data": part.file.data, "file_id": part.file.file_id}
            return {"type": "input_file", **{name: value for name, value in named.items() if value}}
    return {"type": "input_text", "text": part.text}


def _tool(tool: chat.Tool) -> dict[str, Any]:
    parameters = orjson.Fragment(tool.parameters_json or '{"type":"object"}')
    made = {"type": "function", "name": tool.name, "parameters": parameters, "strict": tool.strict}
    return {**made, "description": tool.description} if tool.description else made


def _text(request: chat.ChatRequest) -> dict[str, Any]:
    made: dict[str, Any] = {"verbosity": request.verbosity} if request.verbosity else {}
    asked = request.response_format
    match asked.type:
        case chat.ResponseFormat.TYPE_JSON_OBJECT:
            made["format"] = {"type": "json_object"}
        case chat.ResponseFormat.TYPE_JSON_SCHEMA:
            schema = {"name": asked.name, "schema": orjson.Fragment(asked.schema_json or "{}")}
            strict = {"strict": asked.strict} if asked.HasField("strict") else {}
            made["format"] = {"type": "json_schema", **schema, **strict}
    return made
