"""Our chat request in the words of Bedrock's Converse."""

import re
from collections.abc import Iterable
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.thoughts import Thoughts
from services.models.wires import sampling, searching, thinking
from services.models.wires.above import parted
from services.models.wires.adapter import Target
from services.models.wires.pictures import inline

CACHE = {"cachePoint": {"type": "default"}}
CLAUDE, NOVA, GPT = "claude", "amazon.nova", "openai.gpt-oss"
NOVA_THINKS = re.compile(r"amazon\.nova-(?:[2-9]|[a-z]+-[2-9])")
"""Of the families of models on Bedrock, each with words of its own."""
EFFORT_BETA, BEFORE_IT = "effort-2025-11-24", (4, 6)
"""What a Claude of before that version is to be told with its effort."""
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
"""OpenAI's words for it, in gpt-oss's."""
NOVAS_EFFORTS = {**EFFORTS, "high": "medium", "xhigh": "medium"}
"""... and in Nova's, which thinks harder only where no limit is set to what it writes."""
DOCUMENTS = {
    "application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc", "text/html": "html", "text/plain": "txt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx", "text/markdown": "md",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}  # fmt: skip
UNFIT = re.compile(r"[^A-Za-z0-9 ()\[\]-]+|(?<=\s)\s+")
"""What the name of a document may not have."""


def written(target: Target, request: chat.ChatRequest, thoughts: Thoughts | None = None) -> dict[str, Any]:
    """The body to post; the model and whether it streams stand in the path."""
    request = sampling.defaulted(target, request)
    if request.HasField("n") and request.n > 1:
        raise faults.Unsupported(model=target.name, what="give several answers at once")
    claude = CLAUDE in target.model
    more: dict[str, Any] = sampling.told(target, request, {"top_k": "top_k"} if claude else sampling.NOTHING)
    if searching.asked(target, request) is not None:
        raise faults.Unsupported(model=target.name, what="search the web over this wire")
    above, rest = parted(request.messages)
    body: dict[str, Any] = {"messages": _turns(target, rest, thoughts or Thoughts())}
    if texts := [part for one in above for part in one.parts if part.text]:
        body["system"] = [block for part in texts for block in ({"text": part.text}, *_cached(target, part))]
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
    if more := more | _thinking(target.model, request, config["maxTokens"]):
        body["additionalModelRequestFields"] = more
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


def _thinking(model: str, request: chat.ChatRequest, most: int) -> dict[str, Any]:
    """How hard to think, in the words of the model's own family; others are told nothing."""
    if CLAUDE in model:
        said: dict[str, Any] = {}
        if effort := thinking.effort(model, request):
            said["output_config"] = {"effort": effort}
            if (version := thinking.version(model)) is not None and version < BEFORE_IT:
                said["anthropic_beta"] = [EFFORT_BETA]
        if (budget := thinking.budget(model, request, most)) is not None:
            said["thinking"] = budget
        return said
    wanted = request.reasoning_effort
    if wanted in EFFORTS and GPT in model:
        return {"reasoning_effort": EFFORTS[wanted]}
    if wanted in EFFORTS and NOVA_THINKS.search(model):
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": NOVAS_EFFORTS[wanted]}}
    return {}


def _cached(target: Target, part: chat.ContentPart) -> list[dict[str, Any]]:
    """Up to where a model that caches prompts is to keep this one."""
    keeps = part.cache_mark and (CLAUDE in target.model or NOVA in target.model)
    return [CACHE] if keeps else []


def _turns(target: Target, messages: Iterable[chat.Message], thoughts: Thoughts) -> list[dict[str, Any]]:
    """The user and the assistant take turns, each of the latter after what it thought."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == chat.ROLE_ASSISTANT else "user"
        thought = map(_thought, thoughts.opened(target.model, message.thoughts))
        blocks = [*thought, *_blocks(target, message)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(target: Target, message: chat.Message) -> list[dict[str, Any]]:
    shown = [(part, block) for part in message.parts if (block := _block(target, part)) is not None]
    if message.role == chat.ROLE_TOOL:
        result: dict[str, Any] = {
            "toolUseId": message.tool_call_id,
            "content": [one for _, one in shown] or [{"text": ""}],
        }
        if message.failed:
            result["status"] = "error"
        return [{"toolResult": result}, *[mark for part, _ in shown for mark in _cached(target, part)][:1]]
    blocks = [one for part, block in shown for one in (block, *_cached(target, part))]
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
        case "file":
            found = inline(part.file.data)
            if found is None or found.media_type not in DOCUMENTS:
                raise faults.Unsupported(
                    model=target.name, what="be sent files over this wire but documents as data: URLs"
                )
            named = UNFIT.sub(" ", part.file.filename.rpartition(".")[0] or part.file.filename).strip()[:200]
            source = {"source": {"bytes": found.base64}}
            return {"document": {"format": DOCUMENTS[found.media_type], "name": named or "document", **source}}
        case "audio":
            raise faults.Unsupported(model=target.name, what="be sent sound over this wire")
        case "refusal":
            return {"text": part.refusal} if part.refusal else None
    return {"text": part.text} if part.text else None


def _thought(block: dict[str, Any]) -> dict[str, Any]:
    """A block of Anthropic's, as which thoughts are sealed, in Converse's words."""
    if block["type"] == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": block["data"]}}
    said = {"text": block.get("thinking") or "", "signature": block["signature"]}
    return {"reasoningContent": {"reasoningText": said}}
