"""Google's Gemini wire: `generateContent` and its stream."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.counting import Counter
from services.models.wires import http, searching
from services.models.wires.adapter import Embedded, Target
from services.models.wires.billed import kinds
from services.models.wires.gemini_request import written
from services.models.wires.http import Posting

FILTERED = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"})
FINISHES = {"STOP": chat.FINISH_REASON_STOP, "MAX_TOKENS": chat.FINISH_REASON_LENGTH} | dict.fromkeys(
    FILTERED, chat.FINISH_REASON_CONTENT_FILTER
)


@dataclass(slots=True)
class Gemini:
    http: aiohttp.ClientSession
    count: Counter

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        body = written(target, request)
        async with self.posted(target, "generateContent", body) as response:
            found = await http.parsed(target, response)
        made: chat.ChatCompletion = http.shaped(target, completion, found, target.name)
        if not found.get("usageMetadata"):
            made.usage.CopyFrom(self.count.usage(request, made))
        return made

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        reading, body = _Reading(target.name), written(target, request)
        async with self.posted(target, "streamGenerateContent?alt=sse", body) as response:
            async for data in http.events(target, response):
                found = http.event_object(target, data)
                if isinstance(fault := found.get("error"), dict):
                    raise http.refusal(target, fault.get("code") or 502, {}, found)
                yield http.shaped(target, reading.piece, found)
        if not reading.finished:
            raise faults.ProviderBroke(model=target.name, why="its stream was cut")
        yield reading.end()

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        more = {"outputDimensionality": dimensions} if dimensions else {}
        asked = [{"model": f"models/{target.model}", "content": {"parts": [{"text": text}]}, **more} for text in texts]
        async with self.posted(target, "batchEmbedContents", {"requests": asked}) as response:
            found = await http.parsed(target, response)
        vectors = http.shaped(target, lambda body: [one["values"] for one in body["embeddings"]], found)
        if len(vectors) != len(texts):
            raise faults.ProviderBroke(model=target.name, why="another number of vectors than of texts")
        return Embedded(vectors, sum(self.count.text(text) for text in texts))

    def posted(self, target: Target, method: str, body: dict[str, Any]) -> Posting:
        """As Google AI Studio wants it."""
        headers = {"x-goog-api-key": target.secret} if target.secret else {}
        return http.posted(self.http, target, f"{target.url}/models/{target.model}:{method}", headers, body)


def completion(body: dict[str, Any], model: str) -> chat.ChatCompletion:
    """A `GenerateContentResponse` as our message."""
    made = chat.ChatCompletion(id=body.get("responseId") or "", model=model)
    made.created.FromSeconds(int(time.time()))
    if not body.get("candidates") and (body.get("promptFeedback") or {}).get("blockReason"):
        choice = made.choices.add(finish_reason=chat.FINISH_REASON_CONTENT_FILTER)
        choice.message.role = chat.ROLE_ASSISTANT
    elif not body["candidates"]:
        raise ValueError
    for one in body.get("candidates") or ():
        choice = made.choices.add(index=one.get("index") or 0)
        message = choice.message
        message.role = chat.ROLE_ASSISTANT
        text = ""
        for part in (one.get("content") or {}).get("parts") or ():
            if (call := part.get("functionCall")) is not None:
                message.tool_calls.add(
                    id=call.get("id") or _call_id(made.id, len(message.tool_calls)),
                    name=call["name"],
                    arguments=orjson.dumps(call.get("args") or {}).decode(),
                    signature=part.get("thoughtSignature") or "",
                )
            elif part.get("thought"):
                message.reasoning += part.get("text") or ""
            else:
                text += part.get("text") or ""
        if text:
            message.parts.add(text=text)
        lookups, citations = searching.grounded(one.get("groundingMetadata"), text)
        message.lookups.extend(lookups)
        message.citations.extend(citations)
        choice.finish_reason = _finish(one.get("finishReason"), bool(message.tool_calls))
    made.usage.CopyFrom(_usage(body.get("usageMetadata") or {}))
    made.usage.web_searches = int(any(one.message.lookups for one in made.choices))
    return made


@dataclass(slots=True)
class _Reading:
    """Events one after the other, as our pieces; how it ended and what it used is kept for the last one."""

    model: str
    id: str = ""
    finished: dict[int, "chat.FinishReason.ValueType"] = field(default_factory=dict)
    usage: chat.Usage = field(default_factory=chat.Usage)
    _calls: dict[int, int] = field(default_factory=dict)
    _said: dict[int, list[str]] = field(default_factory=dict)
    _grounded: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By answer; what it rests on is told last, of its whole text."""

    def piece(self, body: dict[str, Any]) -> chat.ChatChunk:
        self.id = body.get("responseId") or self.id
        made = chat.ChatChunk(id=self.id, model=self.model)
        made.created.FromSeconds(int(time.time()))
        if body.get("usageMetadata"):
            self.usage = _usage(body["usageMetadata"])
        if (body.get("promptFeedback") or {}).get("blockReason"):
            self.finished[0] = chat.FINISH_REASON_CONTENT_FILTER
        for one in body.get("candidates") or ():
            index = one.get("index") or 0
            choice = made.choices.add(index=index, role=chat.ROLE_ASSISTANT)
            for part in (one.get("content") or {}).get("parts") or ():
                self._part(choice, part)
            self._said.setdefault(index, []).append(choice.content)
            if one.get("groundingMetadata"):
                self._grounded[index] = one["groundingMetadata"]
            if one.get("finishReason"):
                self.finished[index] = _finish(one["finishReason"], bool(self._calls.get(index)))
        return made

    def end(self) -> chat.ChatChunk:
        made = chat.ChatChunk(id=self.id, model=self.model, usage=self.usage)
        made.created.FromSeconds(int(time.time()))
        for index, finish in self.finished.items():
            text = "".join(self._said.get(index, ()))
            lookups, citations = searching.grounded(self._grounded.get(index), text)
            made.choices.add(index=index, finish_reason=finish, lookups=lookups, citations=citations)
        made.usage.web_searches = int(any(one.lookups for one in made.choices))
        return made

    def _part(self, choice: chat.ChoiceDelta, part: dict[str, Any]) -> None:
        if (call := part.get("functionCall")) is not None:
            n = self._calls.get(choice.index, 0)
            self._calls[choice.index] = n + 1
            arguments = orjson.dumps(call.get("args") or {}).decode()
            choice.tool_calls.add(
                index=n, id=call.get("id") or _call_id(self.id, n), name=call["name"], arguments=arguments,
                signature=part.get("thoughtSignature") or "",
            )  # fmt: skip
        elif part.get("thought"):
            choice.reasoning += part.get("text") or ""
        else:
            choice.content += part.get("text") or ""


def _call_id(response: str, n: int) -> str:
    """Gemini need not name a call; ours are named for the answer that they stand in."""
    return f"call_{response or 'gemini'}_{n}"


def _finish(said: str | None, calls: bool) -> "chat.FinishReason.ValueType":
    finish = FINISHES.get(said or "", chat.FINISH_REASON_STOP)
    return chat.FINISH_REASON_TOOL_CALLS if calls and finish == chat.FINISH_REASON_STOP else finish


def _usage(used: dict[str, Any]) -> chat.Usage:
    """Gemini counts its thoughts apart; we count them among the output."""
    thoughts = used.get("thoughtsTokenCount") or 0
    return chat.Usage(
        input_tokens=(used.get("promptTokenCount") or 0) + (used.get("toolUsePromptTokenCount") or 0),
        output_tokens=(used.get("candidatesTokenCount") or 0) + thoughts,
        cached_input_tokens=used.get("cachedContentTokenCount") or 0,
        reasoning_tokens=thoughts,
        kinds=kinds(
            audio_input_tokens=_of(used, "promptTokensDetails", "AUDIO"),
            image_input_tokens=_of(used, "promptTokensDetails", "IMAGE", "DOCUMENT"),
            audio_output_tokens=_of(used, "candidatesTokensDetails", "AUDIO"),
            image_output_tokens=_of(used, "candidatesTokensDetails", "IMAGE"),
        ),
    )


def _of(used: dict[str, Any], which: str, *modalities: str) -> int:
    return sum(one.get("tokenCount") or 0 for one in used.get(which) or () if one.get("modality") in modalities)
