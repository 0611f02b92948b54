"""An answer as Gemini publishes it: whole, as the events of a stream, and what a refusal looks like there."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire import sse
from services.edge.wire.answer import citations
from services.edge.wire.errors import Refusal
from services.edge.wire.gemini import CHATS, EMBEDS
from services.edge.wire.message import arguments

FINISHES = {
    chat.FINISH_REASON_STOP: "STOP",
    chat.FINISH_REASON_LENGTH: "MAX_TOKENS",
    chat.FINISH_REASON_TOOL_CALLS: "STOP",
    chat.FINISH_REASON_CONTENT_FILTER: "SAFETY",
}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""By status; others are `INVALID_ARGUMENT` where the caller did it."""
TYPES = "type.googleapis.com/google.rpc."


def whole(made: chat.ChatCompletion, road: pb.Road, *, thoughts: bool) -> bytes:
    """A `GenerateContentResponse`. A model's thoughts are told to whoever asked for them."""
    said = {
        "candidates": [_candidate(one, thoughts) for one in made.choices],
        "usageMetadata": usage(made.usage),
        **_frame(made.id, made.model, road),
    }
    if road.citations:
        said["citations"] = citations(road)
    return orjson.dumps(said)


def usage(made: chat.Usage) -> dict[str, int]:
    """What a model thought is counted apart from what it said."""
    said = {
        "promptTokenCount": made.input_tokens,
        "candidatesTokenCount": max(made.output_tokens - made.reasoning_tokens, 0),
        "totalTokenCount": made.input_tokens + made.output_tokens,
    }
    if made.reasoning_tokens:
        said["thoughtsTokenCount"] = made.reasoning_tokens
    if made.cached_input_tokens:
        said["cachedContentTokenCount"] = made.cached_input_tokens
    return said


def refused(refusal: Refusal) -> dict[str, Any]:
    status = STATUSES.get(refusal.status) or ("INVALID_ARGUMENT" if refusal.status < 500 else "INTERNAL")
    details: list[dict[str, Any]] = [
        {"@type": f"{TYPES}ErrorInfo", "reason": refusal.code.upper(), "domain": "edge.tollway"}
    ]
    if refusal.param:
        broken = {"field": refusal.param, "description": refusal.message}
        details.append({"@type": f"{TYPES}BadRequest", "fieldViolations": [broken]})
    if (seconds := refusal.headers.get("retry-after")) is not None:
        details.append({"@type": f"{TYPES}RetryInfo", "retryDelay": f"{seconds}s"})
    return {"error": {"code": refusal.status, "message": refusal.message, "status": status, "details": details}}


def embedded(made: pb.EmbedResponse, *, alone: bool) -> bytes:
    vectors = [{"values": list(one.values)} for one in made.embeddings]
    used = {"usageMetadata": {"promptTokenCount": made.input_tokens}}
    return orjson.dumps({"embedding": vectors[0], **used} if alone else {"embeddings": vectors, **used})


def model(one: models_pb2.Model) -> dict[str, Any]:
    return {
        "name": f"models/{one.name}",
        "displayName": one.name,
        "version": one.provider_model or one.name,
        "inputTokenLimit": one.context_tokens,
        "outputTokenLimit": one.max_output_tokens,
        "supportedGenerationMethods": EMBEDS if one.embeddings else CHATS,
    }


class Events:
    """Pieces of an answer, each a `GenerateContentResponse` of its own. What ends one, and calls of tools, which are told whole, come
    with the last."""

    def __init__(self, road: pb.Road, *, thoughts: bool) -> None:
        self._road, self._thoughts = road, thoughts
        self._calls: dict[int, dict[int, tuple[chat.ToolCall, list[str]]]] = {}
        """Of each choice, with the pieces of their arguments."""
        self._ends: dict[int, str] = {0: "STOP"}
        self._texts: dict[int, list[str]] = {}
        self._rests: dict[int, chat.Message] = {}

    def begin(self) -> bytes:
        return b""

    def add(self, chunk: chat.ChatChunk) -> bytes:
        told = [self._piece(one) for one in chunk.choices]
        if not (candidates := [one for one in told if one is not None]):
            return b""
        return self._event({"candidates": candidates, **_frame(chunk.id, chunk.model, self._road)})

    def end(self, said: pb.StreamCompleteResponse) -> bytes:
        frame = _frame(said.chunk.id, said.chunk.model, self._road)
        return self._event(
            {"candidates": [self._last(index) for index in sorted(self._ends)], "usageMetadata": usage(said.chunk.usage), **frame}
        )  # fmt: skip

    def fail(self, refusal: Refusal) -> bytes:
        return self._event(refused(refusal))

    def _event(self, said: dict[str, Any]) -> bytes:
        return sse.data(said)

    def _piece(self, one: chat.ChoiceDelta) -> dict[str, Any] | None:
        """What of it can be told now."""
        for call in one.tool_calls:
            kept, pieces = self._calls.setdefault(one.index, {}).setdefault(call.index, (chat.ToolCall(), []))
            kept.id, kept.name = call.id or kept.id, call.name or kept.name
            pieces.append(call.arguments)
            kept.signature = call.signature or kept.signature
        self._ends.setdefault(one.index, "STOP")
        if one.finish_reason:
            self._ends[one.index] = FINISHES.get(one.finish_reason, "STOP")
        if one.refusal:
            self._ends[one.index] = "SAFETY"
        self._texts.setdefault(one.index, []).append(one.content)
        rests = self._rests.setdefault(one.index, chat.Message())
        rests.lookups.extend(one.lookups)
        rests.citations.extend(one.citations)
        parts = [_thought(one.reasoning)] if one.reasoning and self._thoughts else []
        if text := one.content or one.refusal:
            parts.append({"text": text})
        return _content(one.index, parts) if parts else None

    def _last(self, index: int) -> dict[str, Any]:
        calls = [call for _, call in sorted(self._calls.get(index, {}).items())]
        for call, pieces in calls:
            call.arguments = "".join(pieces)
        parts = [_call(call) for call, _ in calls] or [{"text": ""}]
        rests = self._rests.get(index, chat.Message())
        return {
            **_content(index, parts),
            "finishReason": self._ends[index],
            **_grounding(rests, "".join(self._texts.get(index, ()))),
        }


class Listed(Events):
    """The same as one JSON array, for who does not ask for `alt=sse`."""

    _begun = False

    def end(self, said: pb.StreamCompleteResponse) -> bytes:
        return super().end(said) + b"]"

    def fail(self, refusal: Refusal) -> bytes:
        return super().fail(refusal) + b"]"

    def _event(self, said: dict[str, Any]) -> bytes:
        before, self._begun = b",\r\n" if self._begun else b"[", True
        return before + orjson.dumps(said)


def _frame(name: str, model: str, road: pb.Road) -> dict[str, str]:
    return {"modelVersion": model or road.model, "responseId": name or road.trace_id}


def _candidate(choice: chat.Choice, thoughts: bool) -> dict[str, Any]:
    said = choice.message
    parts = [_thought(said.reasoning)] if said.reasoning and thoughts else []
    text = "".join(part.text or part.refusal for part in said.parts)
    if text or said.refusal or not said.tool_calls:
        parts.append({"text": text or said.refusal})
    parts += [_call(one) for one in said.tool_calls]
    finish = "SAFETY" if said.refusal else FINISHES.get(choice.finish_reason, "STOP")
    made = {**_content(choice.index, parts), "finishReason": finish, **_grounding(said, text)}
    if choice.logprobs:
        made |= _logprobs(choice.logprobs)
    return made


def _content(index: int, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"index": index, "content": {"role": "model", "parts": parts}}


def _thought(text: str) -> dict[str, Any]:
    return {"text": text, "thought": True}


def _call(one: chat.ToolCall) -> dict[str, Any]:
    signed = {"thoughtSignature": one.signature} if one.signature else {}
    return {"functionCall": {"id": one.id, "name": one.name, "args": arguments(one.arguments)}, **signed}


def _grounding(said: chat.Message, text: str) -> dict[str, Any]:
    """What an answer rests on, where the web was searched. Google counts in bytes of UTF-8."""
    if not (said.lookups or said.citations):
        return {}
    pages = {one.url: one.title for one in said.citations}
    places = {url: n for n, url in enumerate(pages)}
    supports = [
        {
            "segment": {
                "startIndex": len(text[: one.start].encode()),
                "endIndex": len(text[: one.end].encode()),
                "text": text[one.start : one.end],
            },
            "groundingChunkIndices": [places[one.url]],
        }
        for one in said.citations
    ]
    return {
        "groundingMetadata": {
            "webSearchQueries": [one.query for one in said.lookups if one.query],
            "groundingChunks": [{"web": {"uri": url, "title": title}} for url, title in pages.items()],
            "groundingSupports": supports,
        }
    }


def _logprobs(tokens: Iterable[chat.TokenLogprob]) -> dict[str, Any]:
    chosen = list(tokens)
    return {
        "avgLogprobs": sum(one.logprob for one in chosen) / len(chosen),
        "logprobsResult": {
            "chosenCandidates": [_token(one) for one in chosen],
            "topCandidates": [{"candidates": [_token(top) for top in one.top]} for one in chosen],
        },
    }


def _token(one: chat.TokenLogprob) -> dict[str, Any]:
    return {"token": one.token, "logProbability": one.logprob}
