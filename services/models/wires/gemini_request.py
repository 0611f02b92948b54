"""Our chat request in Gemini's words."""

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.wires import sampling, searching, thinking
from services.models.wires.above import parted
from services.models.wires.adapter import Target
from services.models.wires.pictures import inline
from services.models.wires.signing import signature

PLAIN = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
TOLD = {"top_k": "topK"}
MODES = {
    chat.ToolChoice.MODE_NONE: "NONE",
    chat.ToolChoice.MODE_AUTO: "AUTO",
    chat.ToolChoice.MODE_REQUIRED: "ANY",
    chat.ToolChoice.MODE_FUNCTION: "ANY",
}


def written(target: Target, request: chat.ChatRequest) -> dict[str, Any]:
    """The body to post; the model and whether it streams stand in the path."""
    request = sampling.defaulted(target, request)
    above, rest = parted(request.messages)
    body: dict[str, Any] = {"contents": _contents(target, rest)}
    if texts := [part.text for one in above for part in one.parts if part.text]:
        body["systemInstruction"] = {"parts": [{"text": text} for text in texts]}
    if config := _config(target, request):
        body["generationConfig"] = config
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in request.tools]}]
    if (search := searching.asked(target, request)) is not None:
        searching.everywhere(target, search)
        body["tools"] = [*body.get("tools", ()), {"googleSearch": {}}]
    if request.tool_choice.mode:
        calling: dict[str, Any] = {"mode": MODES[request.tool_choice.mode]}
        if request.tool_choice.function:
            calling["allowedFunctionNames"] = [request.tool_choice.function]
        body["toolConfig"] = {"functionCallingConfig": calling}
    return body


def _config(target: Target, request: chat.ChatRequest) -> dict[str, Any]:
    made: dict[str, Any] = {
        theirs: getattr(request, ours)
        for ours, theirs in PLAIN.items()
        if request.HasField(ours)  # type: ignore[arg-type]
    }
    made.update(sampling.told(target, request, TOLD))
    if request.HasField("max_output_tokens"):
        made["maxOutputTokens"] = min(request.max_output_tokens, target.entry.max_output_tokens)
    if request.stop:
        made["stopSequences"] = list(request.stop)
    if request.reasoning_effort and (config := thinking.gemini(target.model, request.reasoning_effort)):
        made["thinkingConfig"] = config
    if request.response_format.type in (chat.ResponseFormat.TYPE_JSON_OBJECT, chat.ResponseFormat.TYPE_JSON_SCHEMA):
        made["responseMimeType"] = "application/json"
    if request.response_format.schema_json:
        made["responseJsonSchema"] = orjson.Fragment(request.response_format.schema_json)
    return made


def _contents(target: Target, messages: Iterable[chat.Message]) -> list[dict[str, Any]]:
    """Turns of the user and the model. A tool's answer names the function, not the call."""
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        role = "model" if message.role == chat.ROLE_ASSISTANT else "user"
        if message.role == chat.ROLE_TOOL:
            said = "".join(part.text for part in message.parts)
            answer = {"name": names.get(message.tool_call_id, message.tool_call_id), "response": {"result": said}}
            shown = [_part(target, part) for part in message.parts if part.WhichOneof("part") != "text"]
            parts = [{"functionResponse": answer}, *shown]
        else:
            parts = [_part(target, part) for part in message.parts]
            for n, call in enumerate(message.tool_calls):
                names[call.id] = call.name
                part: dict[str, Any] = {
                    "functionCall": {"name": call.name, "args": orjson.Fragment(call.arguments or "{}")}
                }
                if signed := signature(target.model, call, n):
                    part["thoughtSignature"] = signed
                parts.append(part)
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def _part(target: Target, part: chat.ContentPart) -> dict[str, Any]:
    match part.WhichOneof("part"):
        case "image":
            if (found := inline(part.image.url)) is not None:
                return {"inlineData": {"mimeType": found.media_type, "data": found.base64}}
            return {"fileData": {"fileUri": part.image.url}}
        case "audio":
            data = base64.b64encode(part.audio.data).decode()
            return {"inlineData": {"mimeType": f"audio/{part.audio.format}", "data": data}}
        case "file":
            if (found := inline(part.file.data)) is None:
                raise faults.Unsupported(model=target.name, what="be sent files over this wire but as data: URLs")
            return {"inlineData": {"mimeType": found.media_type, "data": found.base64}}
        case "refusal":
            return {"text": part.refusal}
    return {"text": part.text}


def _tool(tool: chat.Tool) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tool.name}
    if tool.description:
        made["description"] = tool.description
    if tool.parameters_json:
        made["parametersJsonSchema"] = orjson.Fragment(tool.parameters_json)
    return made
