"""Anthropic's Messages wire."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.counting import Counter
from services.models.thoughts import Sealing, Thoughts
from services.models.wires import http, sampling, searching, thinking
from services.models.wires.above import parted
from services.models.wires.adapter import Embedded, Target
from services.models.wires.billed import kinds, tier
from services.models.wires.enduser import opaque
from services.models.wires.http import Posting
from services.models.wires.pictures import Inline, inline, words

VERSION = "2023-06-01"
PDF = "application/pdf"
TOLD = {"top_k": "top_k"}
MARK = {"cache_control": {"type": "ephemeral"}}
"""Asks for the prompt up to here to be kept. Anthropic takes four of them."""
FINISHES = {
    "end_turn": chat.FINISH_REASON_STOP,
    "stop_sequence": chat.FINISH_REASON_STOP,
    "pause_turn": chat.FINISH_REASON_LENGTH,  # it searched as often as it may in one go: the answer is not whole
    "max_tokens": chat.FINISH_REASON_LENGTH,
    "model_context_window_exceeded": chat.FINISH_REASON_LENGTH,
    "tool_use": chat.FINISH_REASON_TOOL_CALLS,
    "refusal": chat.FINISH_REASON_CONTENT_FILTER,
}
STATUS_OF = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500, "authentication_error": 401}


@dataclass(slots=True)
class Anthropic:
    http: aiohttp.ClientSession
    count: Counter
    thoughts: Thoughts

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        async with self.posted(target, written(target, request, stream=False, thoughts=self.thoughts)) as response:
            body = await http.parsed(target, response)
        made: chat.ChatCompletion = http.shaped(target, completion, body, target.name, self._sealing(target))
        return made

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        body = written(target, request, stream=True, thoughts=self.thoughts)
        reading = _Reading(target.name, self._sealing(target))
        async with self.posted(target, body) as response:
            async for data in http.events(target, response):
                found = http.event_object(target, data)
                if found.get("type") == "error":
                    kind = (found.get("error") or {}).get("type", "")
                    raise http.refusal(target, STATUS_OF.get(kind, 500), {}, found)
                piece = http.shaped(target, reading.piece, found)
                if piece is not None:
                    self._counted(piece, request)
                    yield piece
        if not reading.ended:
            raise faults.ProviderBroke(model=target.name, why="its stream was cut")

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        raise faults.Unsupported(model=target.name, what="embed")

    def _counted(self, piece: chat.ChatChunk, request: chat.ChatRequest) -> None:
        """Servers that speak Anthropic's wire may leave out how it begins, and with that what was read: it is counted here."""
        if piece.HasField("usage") and not piece.usage.input_tokens:
            piece.usage.input_tokens, piece.usage.estimated = self.count.prompt(request), True

    def _sealing(self, target: Target) -> Sealing:
        return partial(self.thoughts.sealed, target.model)

    def posted(self, target: Target, body: dict[str, Any]) -> Posting:
        """As Anthropic itself wants it."""
        headers = {"anthropic-version": VERSION, "x-api-key": target.secret}
        return http.posted(self.http, target, f"{target.url}/messages", headers, body)


def written(
    target: Target, request: chat.ChatRequest, *, stream: bool, thoughts: Thoughts | None = None
) -> dict[str, Any]:
    """The body to post. Anthropic wants roles to take turns, and a limit said outright."""
    request = sampling.defaulted(target, request)
    if request.HasField("n") and request.n > 1:
        raise faults.Unsupported(model=target.name, what="give several answers at once")
    above, rest = parted(request.messages)
    most = request.max_output_tokens if request.HasField("max_output_tokens") else target.entry.max_output_tokens
    body: dict[str, Any] = {
        "model": target.model,
        "max_tokens": min(most, target.entry.max_output_tokens),
        "messages": _turns(target, rest, thoughts or Thoughts()),
    }
    if any(part.cache_mark for one in above for part in one.parts):
        body["system"] = [block for one in above for block in _blocks(target.name, one)]
    elif above:
        body["system"] = "\n\n".join("".join(part.text for part in one.parts) for one in above)
    if request.HasField("temperature"):
        body["temperature"] = min(request.temperature, 1.0)
    if request.HasField("top_p"):
        body["top_p"] = request.top_p
    body.update(sampling.told(target, request, TOLD))
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    search = searching.asked(target, request)
    if (request.tools or search) and request.tool_choice.mode != chat.ToolChoice.MODE_NONE:
        body["tools"] = [*map(_tool, request.tools), *([searching.claude(search)] if search else [])]
        if (choice := _choice(request)) is not None:
            body["tool_choice"] = choice
    output: dict[str, Any] = {}
    if request.response_format.schema_json:
        schema = orjson.Fragment(request.response_format.schema_json)
        output["format"] = {"type": "json_schema", "schema": schema}
    if effort := thinking.effort(target.model, request):
        output["effort"] = effort
    if output:
        body["output_config"] = output
    if (budget := thinking.budget(target.model, request, body["max_tokens"])) is not None:
        body["thinking"] = budget
    if request.user:
        body["metadata"] = {"user_id": opaque(request.user)}
    if stream:
        body["stream"] = True
    return body


def _tool(tool: chat.Tool) -> dict[str, Any]:
    schema = orjson.Fragment(tool.parameters_json or '{"type":"object"}')
    made = {"name": tool.name, "input_schema": schema}
    return {**made, "description": tool.description} if tool.description else made


def _choice(request: chat.ChatRequest) -> dict[str, Any] | None:
    more = (
        {"disable_parallel_tool_use": True}
        if request.HasField("parallel_tool_calls") and not request.parallel_tool_calls
        else {}
    )
    match request.tool_choice.mode:
        case chat.ToolChoice.MODE_REQUIRED:
            return {"type": "any", **more}
        case chat.ToolChoice.MODE_FUNCTION:
            return {"type": "tool", "name": request.tool_choice.function, **more}
    return {"type": "auto", **more} if more else None


def _turns(target: Target, messages: Any, thoughts: Thoughts) -> list[dict[str, Any]]:
    """Turns of the user and the model, each of its own after what it thought."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == chat.ROLE_ASSISTANT else "user"
        blocks = [*thoughts.opened(target.model, message.thoughts), *_blocks(target.name, message)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(name: str, message: chat.Message) -> list[dict[str, Any]]:
    if message.role == chat.ROLE_TOOL:
        marked = any(part.cache_mark for part in message.parts)
        said = words(message)
        shown = [block for part in message.parts if (block := _block(name, part)) is not None] if said is None else said
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": shown}
        failed = {"is_error": True} if message.failed else {}
        return [{**result, **failed, **(MARK if marked else {})}]
    blocks = [_marked(block, part) for part in message.parts if (block := _block(name, part)) is not None]
    for call in message.tool_calls:
        blocks.append(
            {"type": "tool_use", "id": call.id, "name": call.name, "input": orjson.Fragment(call.arguments or "{}")}
        )
    return blocks


def _marked(block: dict[str, Any], part: chat.ContentPart) -> dict[str, Any]:
    return {**block, **MARK} if part.cache_mark else block


def _block(name: str, part: chat.ContentPart) -> dict[str, Any] | None:
    match part.WhichOneof("part"):
        case "image":
            if (found := inline(part.image.url)) is not None:
                return {"type": "image", "source": _source(found)}
            return {"type": "image", "source": {"type": "url", "url": part.image.url}}
        case "file":
            if (found := inline(part.file.data)) is None or found.media_type != PDF:
                raise faults.Unsupported(model=name, what="be sent files over this wire but PDFs as data: URLs")
            titled = {"title": part.file.filename} if part.file.filename else {}
            return {"type": "document", "source": _source(found), **titled}
        case "audio":
            raise faults.Unsupported(model=name, what="be sent sound over this wire")
    return {"type": "text", "text": part.text} if part.text else None


def _source(found: Inline) -> dict[str, str]:
    return {"type": "base64", "media_type": found.media_type, "data": found.base64}


def _usage(used: dict[str, Any]) -> chat.Usage:
    """Anthropic counts what its cache held apart from `input_tokens`; we count it in."""
    cached = used.get("cache_read_input_tokens") or 0
    made = used.get("cache_creation_input_tokens") or 0
    return chat.Usage(
        input_tokens=(used.get("input_tokens") or 0) + cached + made,
        output_tokens=used.get("output_tokens") or 0,
        cached_input_tokens=cached,
        kinds=kinds(cache_write_tokens=made),
        service_tier=tier(used.get("service_tier")),
        web_searches=(used.get("server_tool_use") or {}).get("web_search_requests") or 0,
    )


def completion(body: dict[str, Any], model: str, sealed: Sealing) -> chat.ChatCompletion:
    made = chat.ChatCompletion(id=body.get("id") or "", model=model)
    made.created.FromSeconds(int(time.time()))
    choice = made.choices.add(finish_reason=FINISHES.get(body.get("stop_reason") or "", chat.FINISH_REASON_STOP))
    choice.message.role = chat.ROLE_ASSISTANT
    message, text, queries = choice.message, "", dict[str, str]()
    for block in body["content"]:
        match block["type"]:
            case "text":
                before, text = len(text), text + block["text"]
                message.citations.extend(searching.quoted(block.get("citations"), before, len(text)))
            case "thinking" | "redacted_thinking":
                message.reasoning += block.get("thinking") or ""
                message.thoughts.append(sealed(block))
            case "tool_use":
                arguments = orjson.dumps(block["input"]).decode()
                message.tool_calls.add(id=block["id"], name=block["name"], arguments=arguments)
            case "server_tool_use":
                queries[block["id"]] = _query(block["input"])
            case "web_search_tool_result":
                message.lookups.append(searching.found(block, queries.get(block["tool_use_id"], "")))
    if text:
        message.parts.add(text=text)
    made.usage.CopyFrom(_usage(body["usage"]))
    return made


def _query(asked: dict[str, Any]) -> str:
    return str(asked.get("query") or "")


class _Reading:
    """Anthropic's events one after the other, as our pieces."""

    def __init__(self, model: str, sealed: Sealing) -> None:
        self.ended = False
        self._model, self._sealed, self._id = model, sealed, ""
        self._thought: dict[str, list[str]] | None = None
        """The block that is being thought: each field in the pieces that it came in."""
        self._used: dict[str, Any] = {}
        self._calls: dict[int, int] = {}
        self._queries: dict[int, tuple[str, list[str]]] = {}
        """Of searches, by their block: the id, and the JSON that the query comes in."""
        self._said = self._from = 0
        """Characters of text, and of those before this block."""
        self._cited: list[dict[str, Any]] = []

    def piece(self, event: dict[str, Any]) -> chat.ChatChunk | None:
        made = chat.ChatChunk(id=self._id, model=self._model)
        made.created.FromSeconds(int(time.time()))
        match event.get("type"):
            case "message_start":
                self._id = made.id = event["message"].get("id") or ""
                self._used = event["message"].get("usage") or {}
                made.choices.add(role=chat.ROLE_ASSISTANT)
            case "content_block_start":
                return self._begun(made, event["index"], event["content_block"])
            case "content_block_delta":
                return self._delta(made, event)
            case "content_block_stop" if self._thought is not None:
                whole = {name: "".join(pieces) for name, pieces in self._thought.items()}
                made.choices.add().thoughts.append(self._sealed(whole))
                self._thought = None
            case "content_block_stop" if self._cited:
                made.choices.add().citations.extend(searching.quoted(self._cited, self._from, self._said))
                self._cited = []
            case "message_delta":
                finish = event["delta"].get("stop_reason") or ""
                # What was read is told at the beginning, and anew here where more was: what searches have found.
                self._used |= {name: one for name, one in (event.get("usage") or {}).items() if one is not None}
                made.choices.add(finish_reason=FINISHES.get(finish, chat.FINISH_REASON_STOP))
                made.usage.CopyFrom(_usage(self._used))
            case "message_stop":
                self.ended = True
                return None
            case _:
                return None
        return made

    def _begun(self, made: chat.ChatChunk, index: int, block: dict[str, Any]) -> chat.ChatChunk | None:
        match block["type"]:
            case "tool_use":
                n = self._calls[index] = len(self._calls)
                made.choices.add().tool_calls.add(index=n, id=block["id"], name=block["name"])
                return made
            case "thinking" | "redacted_thinking":
                self._thought = {name: [said] for name, said in block.items()}
            case "text":
                self._from = self._said
            case "server_tool_use":
                self._queries[index] = (block["id"], [])
            case "web_search_tool_result":
                said = next((pieces for name, pieces in self._queries.values() if name == block["tool_use_id"]), [])
                query = _query(orjson.loads("".join(said) or "{}"))
                made.choices.add().lookups.append(searching.found(block, query))
                return made
        return None

    def _delta(self, made: chat.ChatChunk, event: dict[str, Any]) -> chat.ChatChunk | None:
        delta = event["delta"]
        match delta.get("type"):
            case "text_delta":
                self._said += len(delta["text"])
                made.choices.add(content=delta["text"])
            case "citations_delta":
                self._cited.append(delta["citation"])
                return None
            case "input_json_delta" if event["index"] in self._queries:
                self._queries[event["index"]][1].append(delta["partial_json"])
                return None
            case "thinking_delta":
                self._think("thinking", delta)
                made.choices.add(reasoning=delta["thinking"])
            case "signature_delta":
                self._think("signature", delta)
                return None
            case "input_json_delta":
                made.choices.add().tool_calls.add(index=self._calls[event["index"]], arguments=delta["partial_json"])
            case _:
                return None
        return made

    def _think(self, name: str, delta: dict[str, Any]) -> None:
        if self._thought is not None:
            self._thought.setdefault(name, []).append(delta[name])
