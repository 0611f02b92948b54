"""Our chat request in the words of Bedrock's Converse."""

from collections.abc import Iterable
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.wires import sampling, searching
from services.models.wires.adapter import Target
from services.models.wires.pictures import inline

ABOVE = (chat.ROLE_SYSTEM, chat.ROLE_DEVELOPER)


def written(target: Target, request: chat.ChatRequest) -> dict[str, Any]:
    """The body to post; the model and whether it streams stand in the path."""
    request = sampling.defaulted(target, request)
    if request.HasField("n") and request.n > 1:
        raise faults.Unsupported(model=target.name, what="give several answers at once")
    sampling.told(target, request, sampling.NOTHING)
    if searching.asked(target, request) is not None:
        raise faults.Unsupported(model=target.name, what="search the web over this wire")
    body: dict[str, Any] = {"messages": _turns(target, request.messages)}
    above = [part.text for one in request.messages if one.role in ABOVE for part in one.parts if part.text]
    if above:
        body["system"] = [{"text": text} for text in above]
    most = request.max_output_tokens if request.HasField("max_output_tokens") else target.entry.max_output_tokens
    config: dict[str, Any] = {"maxTokens": min(most, target.entry.max_output_tokens)}
    if request.HasField("temperature"):
        config["temperature"] = min(request.temperature, 1.0)
    if request.HasField("top_p"):
        config["topP"] = request.top_p
    if request.stop:
        config["stopSequences"] = list(request.stop)
    body["inferenceConfig"] = config
    if request.tools and request.tool_choice.mode != chat.ToolChoice.MODE_NONE:
        body["toolConfig"] = _tools(request)
    if request.response_format.schema_json:
        asked = request.response_format
        schema = {"schema": asked.schema_json} | ({"name": asked.name} if asked.name else {})
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    if request.metadata:
        body["requestMetadata"] = dict(request.metadata)
    return body


def _tools(request: chat.ChatRequest) -> dict[str, Any]:
    tools = [
        {
            "toolSpec": {
                "name": tool.name,
                "inputSchema": {"json": orjson.Fragment(tool.parameters_json or '{"type":"object"}')},
                **({"description": tool.description} if tool.description else {}),
            }
        }
        for tool in request.tools
    ]
    made: dict[str, Any] = {"tools": tools}
    match request.tool_choice.mode:
        case chat.ToolChoice.MODE_REQUIRED:
            made["toolChoice"] = {"any": {}}
        case chat.ToolChoice.MODE_FUNCTION:
            made["toolChoice"] = {"tool": {"name": request.tool_choice.function}}
    return made


def _turns(target: Target, messages: Iterable[chat.Message]) -> list[dict[str, Any]]:
    """The user and the assistant take turns."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role in ABOVE:
            continue
        role = "assistant" if message.role == chat.ROLE_ASSISTANT else "user"
        blocks = _blocks(target, message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(target: Target, message: chat.Message) -> list[dict[str, Any]]:
    blocks = [block for part in message.parts if (block := _block(target, part)) is not None]
    if message.role == chat.ROLE_TOOL:
        return [{"toolResult": {"toolUseId": message.tool_call_id, "content": blocks or [{"text": ""}]}}]
    blocks += [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": orjson.Fragment(call.arguments or "{}")}}
        for call in message.tool_calls
    ]
    return blocks


def _block(target: Target, part: chat.ContentPart) -> dict[str, Any] | None:
    match part.WhichOneof("part"):
        case "image":
            if (found := inline(part.image.url)) is None:
                raise faults.Unsupported(model=target.name, what="fetch pictures; send them as data: URLs")
            return {"image": {"format": found.format, "source": {"bytes": found.base64}}}
        case "audio" | "file":
            raise faults.Unsupported(model=target.name, what="be sent sound or files over this wire")
        case "refusal":
            return {"text": part.refusal} if part.refusal else None
    return {"text": part.text} if part.text else None
