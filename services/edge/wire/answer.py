"""Our answers in OpenAI's words: every field of the published schema, nullable ones included."""

import base64
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.models.v1 import models_pb2

from services.edge.wire import limits, prompt, sse
from services.edge.wire.errors import Refusal
from services.edge.wire.signed import blocks, extra

FINISHES = {
    chat.FINISH_REASON_STOP: "stop",
    chat.FINISH_REASON_LENGTH: "length",
    chat.FINISH_REASON_TOOL_CALLS: "tool_calls",
    chat.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
MATCHES = {cache_pb2.MATCH_EXACT: "exact", cache_pb2.MATCH_SEMANTIC: "semantic"}
TIERS = frozenset({"flex", "scale", "priority"})
DONE = b"data: [DONE]\n\n"


def completion(made: chat.ChatCompletion, road: pb.Road) -> bytes:
    """A `chat.completion` object."""
    said = {
        "id": made.id or f"chatcmpl-{road.trace_id}",
        "object": "chat.completion",
        "created": made.created.seconds or int(time.time()),
        "model": made.model,
        "choices": [_choice(one) for one in made.choices],
        "usage": usage(made.usage),
        "service_tier": tier(made.usage),
        "system_fingerprint": made.system_fingerprint or None,
    }
    if road.citations:
        said["citations"] = citations(road)
    return orjson.dumps(said)


class Chunks:
    """`chat.completion.chunk` events, one a piece, and `[DONE]` after the last."""

    def __init__(self, road: pb.Road, *, with_usage: bool) -> None:
        self._road, self._with_usage = road, with_usage

    def begin(self) -> bytes:
        return b""

    def add(self, chunk: chat.ChatChunk) -> bytes:
        if not (choices := self._choices(chunk)):
            return b""
        said = {**self._frame(chunk), "choices": choices}
        if self._with_usage:
            said["usage"] = None
        return sse.data(said)

    def end(self, said: pb.StreamCompleteResponse) -> bytes:
        if not self._with_usage:
            return DONE
        used = {**usage(said.chunk.usage), "cost_usd": said.road.cost_nano_usd / 1e9}
        return sse.data({**self._frame(said.chunk), "choices": [], "usage": used}) + DONE

    def fail(self, refusal: Refusal) -> bytes:
        return sse.event("error", refusal.body())

    def _choices(self, chunk: chat.ChatChunk) -> list[dict[str, Any]]:
        return [_delta(one) for one in chunk.choices]

    def _frame(self, piece: chat.ChatChunk) -> dict[str, Any]:
        """What every event says."""
        return _frame(piece, self._road)


def usage(made: chat.Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": made.input_tokens,
        "completion_tokens": made.output_tokens,
        "total_tokens": made.input_tokens + made.output_tokens,
        "prompt_tokens_details": {**cached(made), "audio_tokens": made.kinds.audio_input_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": made.reasoning_tokens,
            "audio_tokens": made.kinds.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def cached(made: chat.Usage) -> dict[str, int]:
    """What the provider had in its prompt cache, and what it put there."""
    return {"cached_tokens": made.cached_input_tokens, "cache_write_tokens": made.kinds.cache_write_tokens}


def tier(made: chat.Usage) -> str | None:
    """Of service, where it is one of OpenAI's and not the usual one."""
    return made.service_tier if made.service_tier in TIERS else None


def headers(road: pb.Road) -> list[tuple[bytes, bytes]]:
    """The `X-Tollway-*` headers: trace, route, cache, the most it can cost; and `x-ratelimit-*`, where the caller has limits."""
    said = {
        "trace": road.trace_id,
        "model": road.model,
        "route": road.route_reason,
        "route-taken": road.route,
        "decision": road.decision_id,
        "cache": MATCHES.get(road.cache, "miss"),
        "cache-entry": road.cache_entry_id,
        "cost-max": f"{road.held_nano_usd / 1e9:.9f}",
        "masked": ",".join(sorted({one.type for one in road.findings if one.action == guard_pb2.ACTION_MASK})),
        "degraded": ",".join(road.degraded),
        "tokens-left-out": str(road.tokens_left_out) if road.tokens_left_out else "",
        "prompt": ",".join(prompt.used(one) for one in road.used),
        "budget-warning": ",".join(road.budget_warnings),
        "documents": str(road.documents) if road.HasField("documents") else "",
    }
    ours = [(f"x-tollway-{name}".encode(), _printable(value)) for name, value in said.items() if value]
    return ours + limits.openai(road.limits) if road.limits else ours


def models(listed: Iterable[models_pb2.Model]) -> bytes:
    return orjson.dumps({"object": "list", "data": [model(one) for one in listed]})


def model(one: models_pb2.Model) -> dict[str, Any]:
    return {"id": one.name, "object": "model", "created": 0, "owned_by": one.provider or "tollway"}


def embeddings(made: pb.EmbedResponse, *, in_base64: bool) -> bytes:
    def shaped(values: Any) -> Any:
        raw = np.array(values, np.float32)
        return base64.b64encode(raw.tobytes()).decode() if in_base64 else raw

    data = [
        {"object": "embedding", "index": n, "embedding": shaped(one.values)} for n, one in enumerate(made.embeddings)
    ]
    said = {
        "object": "list",
        "data": data,
        "model": made.model,
        "usage": {"prompt_tokens": made.input_tokens, "total_tokens": made.input_tokens},
    }
    return orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)


def _frame(piece: chat.ChatChunk, road: pb.Road) -> dict[str, Any]:
    return {
        "id": piece.id or f"chatcmpl-{road.trace_id}",
        "object": "chat.completion.chunk",
        "created": piece.created.seconds or int(time.time()),
        "model": piece.model,
        "service_tier": tier(piece.usage),
        "system_fingerprint": piece.system_fingerprint or None,
    }


def _choice(one: chat.Choice) -> dict[str, Any]:
    said = one.message
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in said.parts) if said.parts else None,
        "refusal": said.refusal if said.HasField("refusal") else None,
        "annotations": annotations(said.citations),
    }
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.thoughts:
        message["thinking_blocks"] = blocks(said.reasoning, said.thoughts)
    if said.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **extra(call.signature),
            }
            for call in said.tool_calls
        ]
    return {
        "index": one.index,
        "message": message,
        "logprobs": _logprobs(one.logprobs),
        "finish_reason": FINISHES.get(one.finish_reason, "stop"),
    }


def _delta(one: chat.ChoiceDelta) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    if one.role:
        delta["role"], delta["content"] = "assistant", one.content
    if one.content:
        delta["content"] = one.content
    if one.refusal:
        delta["refusal"] = one.refusal
    if one.reasoning:
        delta["reasoning_content"] = one.reasoning
    if one.thoughts:
        delta["thinking_blocks"] = blocks("", one.thoughts)
    if one.citations:
        delta["annotations"] = annotations(one.citations)
    if one.tool_calls:
        delta["tool_calls"] = [_call(call) for call in one.tool_calls]
    return {
        "index": one.index,
        "delta": delta,
        "logprobs": _logprobs(one.logprobs),
        "finish_reason": FINISHES.get(one.finish_reason),
    }


def annotations(cited: Iterable[chat.WebCitation]) -> list[dict[str, Any]]:
    return [{"type": "url_citation", "url_citation": citation(one)} for one in cited]


def citation(one: chat.WebCitation) -> dict[str, Any]:
    return {"start_index": one.start, "end_index": one.end, "url": one.url, "title": one.title}


def _call(call: chat.ToolCallDelta) -> dict[str, Any]:
    said: dict[str, Any] = {"index": call.index}
    if call.id:
        said["id"], said["type"] = call.id, "function"
    function = {name: value for name, value in (("name", call.name), ("arguments", call.arguments)) if value}
    if call.name and not call.arguments:
        function["arguments"] = ""
    said["function"] = function
    return {**said, **extra(call.signature)} if call.signature else said


def _logprobs(tokens: Any) -> dict[str, Any] | None:
    if not tokens:
        return None
    return {
        "content": [{**_token(one), "top_logprobs": [_token(top) for top in one.top]} for one in tokens],
        "refusal": None,
    }


def _token(one: chat.TokenLogprob) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.utf8) or None}


def citations(road: pb.Road) -> list[dict[str, str]]:
    return [
        {"document_id": one.document_id, "version": one.version, "title": one.title, "uri": one.uri}
        for one in road.citations
    ]


def _printable(value: str) -> bytes:
    """A header's value: what is not printable ASCII cannot stand there."""
    if value.isascii() and value.isprintable():
        return value.encode()
    return bytes(ord(one) if " " <= one <= "~" else 0x3F for one in value)
