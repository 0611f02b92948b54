"""OpenAI's Responses wire: its newer models think, and tell of it, only here."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.wires import http, searching
from services.models.wires.adapter import Embedded, Target
from services.models.wires.billed import kinds, tier
from services.models.wires.openai import OpenAI
from services.models.wires.responses_request import written
from services.runtime.errors import Failure

ENDED = ("response.completed", "response.incomplete")
SAID = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
}


@dataclass(slots=True)
class Responses:
    openai: OpenAI

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        body = written(target, request, stream=False)
        async with self.openai.posted(target, "responses", body) as response:
            found = await http.parsed(target, response)
        if isinstance(found.get("error"), dict):
            raise _broken(target, found["error"])
        made: chat.ChatCompletion = http.shaped(target, completion, found, target.name)
        if not found.get("usage"):
            made.usage.CopyFrom(self.openai.count.usage(request, made))
        return made

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        reading, body = _Reading(target.name), written(target, request, stream=True)
        async with self.openai.posted(target, "responses", body) as response:
            async for data in http.events(target, response):
                found = http.event_object(target, data)
                match found.get("type"):
                    case "error":
                        raise _broken(target, found)
                    case "response.failed":
                        raise _broken(target, (found.get("response") or {}).get("error") or {})
                piece = http.shaped(target, reading.piece, found)
                if piece is not None:
                    yield piece
        if not reading.ended:
            raise faults.ProviderBroke(model=target.name, why="its stream was cut")

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        return await self.openai.embed(target, texts, dimensions)


def _broken(target: Target, fault: dict[str, Any]) -> Failure:
    status = {"rate_limit_exceeded": 429, "invalid_prompt": 400}.get(str(fault.get("code")), 502)
    return http.refusal(target, status, {}, {"error": {"code": fault.get("code"), "param": fault.get("param")}})


def completion(body: dict[str, Any], model: str) -> chat.ChatCompletion:
    """A `response` object as our message."""
    made = chat.ChatCompletion(id=body.get("id") or "", model=model)
    made.created.FromSeconds(int(body.get("created_at") or time.time()))
    choice = made.choices.add()
    message = choice.message
    message.role = chat.ROLE_ASSISTANT
    text = ""
    for item in body["output"]:
        match item.get("type"):
            case "message":
                for part in item["content"]:
                    message.citations.extend(searching.cited(part.get("annotations"), len(text)))
                    text += part.get("text") or ""
                    if part.get("type") == "refusal":
                        message.refusal = part["refusal"]
            case searching.CALL if searching.searched(item):
                message.lookups.append(searching.looked_up(item))
            case "function_call":
                message.tool_calls.add(id=item["call_id"], name=item["name"], arguments=item["arguments"])
            case "reasoning":
                parts = (item.get("summary") or []) + (item.get("content") or [])
                message.reasoning += "\n".join(part.get("text") or "" for part in parts)
    if text:
        message.parts.add(text=text)
    choice.finish_reason = _finish(body, bool(message.tool_calls))
    made.usage.CopyFrom(_usage(body))
    made.usage.web_searches = len(message.lookups)
    return made


@dataclass(slots=True)
class _Reading:
    """The wire's events one after the other, as our pieces."""

    model: str
    ended: bool = False
    _id: str = ""
    _calls: dict[int, int] = field(default_factory=dict)
    _lookups: int = 0
    _said: int = 0
    """Characters of text."""
    _before: int = 0
    """Those of the parts before this one."""

    def piece(self, event: dict[str, Any]) -> chat.ChatChunk | None:
        kind = event.get("type") or ""
        if kind == "response.created":
            self._id = event["response"].get("id") or ""
        made = chat.ChatChunk(id=self._id, model=self.model)
        made.created.FromSeconds(int(time.time()))
        if kind == "response.created":
            made.choices.add(role=chat.ROLE_ASSISTANT)
        elif kind in SAID:
            setattr(made.choices.add(), SAID[kind], event["delta"])
            self._said += len(event["delta"]) if SAID[kind] == "content" else 0
        elif kind == "response.content_part.added":
            self._before = self._said
            return None
        elif kind == "response.output_text.annotation.added":
            if not (cited := searching.cited([event["annotation"]], self._before)):
                return None
            made.choices.add().citations.extend(cited)
        elif kind == "response.output_item.done" and searching.searched(event["item"]):
            self._lookups += 1
            made.choices.add().lookups.append(searching.looked_up(event["item"]))
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            item, n = event["item"], len(self._calls)
            self._calls[event["output_index"]] = n
            made.choices.add().tool_calls.add(
                index=n, id=item["call_id"], name=item["name"], arguments=item.get("arguments") or ""
            )
        elif kind == "response.function_call_arguments.delta":
            made.choices.add().tool_calls.add(index=self._calls[event["output_index"]], arguments=event["delta"])
        elif kind in ENDED:
            self.ended = True
            made.choices.add(finish_reason=_finish(event["response"], bool(self._calls)))
            made.usage.CopyFrom(_usage(event["response"]))
            made.usage.web_searches = self._lookups
        else:
            return None
        return made


def _finish(body: dict[str, Any], calls: bool) -> "chat.FinishReason.ValueType":
    match (body.get("incomplete_details") or {}).get("reason"):
        case "max_output_tokens":
            return chat.FINISH_REASON_LENGTH
        case "content_filter":
            return chat.FINISH_REASON_CONTENT_FILTER
    return chat.FINISH_REASON_TOOL_CALLS if calls else chat.FINISH_REASON_STOP


def _usage(body: dict[str, Any]) -> chat.Usage:
    used = body.get("usage") or {}
    read = used.get("input_tokens_details") or {}
    return chat.Usage(
        input_tokens=used.get("input_tokens") or 0,
        output_tokens=used.get("output_tokens") or 0,
        cached_input_tokens=read.get("cached_tokens") or 0,
        reasoning_tokens=(used.get("output_tokens_details") or {}).get("reasoning_tokens") or 0,
        kinds=kinds(cache_write_tokens=read.get("cache_write_tokens")),
        service_tier=tier(body.get("service_tier")),
    )
