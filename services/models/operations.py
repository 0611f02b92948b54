"""Calls of providers as OpenTelemetry's GenAI conventions have them: a client span, and what is measured of it.

Names and attributes are those of github.com/open-telemetry/semantic-conventions-genai. No prompt and no answer is in them.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span
from tollway.chat.v1 import chat_pb2 as chat

from services.models.catalogue import Entry
from services.models.pools import Endpoint
from services.runtime import telemetry
from services.runtime.errors import Failure
from services.runtime.metrics import Distribution

CHAT, EMBEDDINGS, RERANK, MODERATION, CONTENT = "chat", "embeddings", "rerank", "moderation", "generate_content"
PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The conventions' names, where they are not ours."""
FINISHES = {
    chat.FINISH_REASON_STOP: "stop",
    chat.FINISH_REASON_LENGTH: "length",
    chat.FINISH_REASON_TOOL_CALLS: "tool_calls",
    chat.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(float(4**n) for n in range(14))
COMMON = (
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "server.address",
    "server.port",
)  # fmt: skip
DURATION = Distribution(
    "gen_ai.client.operation.duration", "s", "GenAI operation duration.", SECONDS, (*COMMON, "error.type")
)
USAGE = Distribution(
    "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", TOKENS,
    (*COMMON, "gen_ai.token.type"),
)  # fmt: skip
FIRST_CHUNK = Distribution(
    "gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk.", SECONDS, COMMON
)
PER_CHUNK = Distribution(
    "gen_ai.client.operation.time_per_output_chunk", "s", "Time per chunk after the first one.", SECONDS, COMMON
)
UNKNOWN = "_OTHER"
"""The type of an error that nobody has a word for."""


@dataclass(slots=True)
class Operation:
    """One call under way."""

    name: str
    entry: Entry
    address: tuple[str, str]
    span: Span | None
    stream: bool = False
    response_model: str = ""
    began: float = field(default_factory=time.perf_counter)
    last: float = 0.0
    finishes: list[str] = field(default_factory=list)

    def piece(self, piece: chat.ChatChunk) -> None:
        """A piece of a stream has come."""
        now = time.perf_counter()
        self.response_model = self.response_model or piece.model or self.entry.model
        if self.last:
            PER_CHUNK.add(now - self.last, *self._labels())
        else:
            FIRST_CHUNK.add(now - self.began, *self._labels(), trace=telemetry.ids(self.span))
            if self.span is not None:
                self.span.set_attribute("gen_ai.response.time_to_first_chunk", now - self.began)
                self._answered(piece.id)
        self.last = now
        self.finishes += [FINISHES[one.finish_reason] for one in piece.choices if one.finish_reason in FINISHES]
        if piece.HasField("usage"):
            self.used(piece.usage)

    def answered(self, made: chat.ChatCompletion) -> None:
        """The whole answer is there."""
        self.response_model = made.model or self.entry.model
        self.finishes = [FINISHES[one.finish_reason] for one in made.choices if one.finish_reason in FINISHES]
        self._answered(made.id)
        self.used(made.usage)

    def used(self, usage: chat.Usage) -> None:
        """What it took, as the provider says; nothing of what we only guess."""
        if usage.estimated:
            return
        example = telemetry.ids(self.span)
        for count, kind in ((usage.input_tokens, "input"), (usage.output_tokens, "output")):
            if count or kind == "input":
                USAGE.add(count, *self._labels(), kind, trace=example)
        if self.span is not None:
            self.span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
            if self.name == CHAT:
                self.span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
            if usage.cached_input_tokens:
                self.span.set_attribute("gen_ai.usage.cache_read.input_tokens", usage.cached_input_tokens)
            if usage.reasoning_tokens:
                self.span.set_attribute("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens)

    def end(self, error_type: str = "") -> None:
        """`error_type` is '' for a call that was answered."""
        took = time.perf_counter() - self.began
        DURATION.add(took, *self._labels(), error_type, trace=telemetry.ids(self.span))
        if self.span is None:
            return
        if self.finishes:
            self.span.set_attribute("gen_ai.response.finish_reasons", self.finishes)
        if error_type:
            telemetry.failed(self.span, error_type)
        self.span.end()

    def _answered(self, name: str) -> None:
        if self.span is not None:
            self.span.set_attribute("gen_ai.response.model", self.response_model)
            if name:
                self.span.set_attribute("gen_ai.response.id", name)

    def _labels(self) -> tuple[str, ...]:
        return (self.name, provider(self.entry), self.entry.model, self.response_model, *self.address)


@contextmanager
def operation(
    name: str, endpoint: Endpoint, entry: Entry, request: chat.ChatRequest | None = None, *, stream: bool = False
) -> Iterator[Operation]:
    """Measures a call of a provider for as long as the block lasts. What its caller gives up is of type `cancelled`."""
    model, address = endpoint.place.model, _address(endpoint.place.base_url)
    span = telemetry.child(f"{name} {model}")
    one = Operation(name, entry, address, span, stream)
    if span is not None:
        span.set_attributes(_asked(name, entry, model, address, request, stream))
    error = UNKNOWN
    try:
        yield one
        error = ""
    except Failure as failure:
        error = failure.reason
        raise
    except (asyncio.CancelledError, GeneratorExit):
        error = "cancelled"
        raise
    finally:
        one.end(error)


def provider(entry: Entry) -> str:
    return PROVIDERS.get(entry.provider, entry.provider)


def _asked(
    name: str, entry: Entry, model: str, address: tuple[str, str], request: chat.ChatRequest | None, stream: bool
) -> dict[str, Any]:
    """What the conventions want to know of a request."""
    said: dict[str, Any] = {
        "gen_ai.operation.name": name,
        "gen_ai.provider.name": provider(entry),
        "gen_ai.request.model": model,
    }
    if address[0]:
        said["server.address"] = address[0]
        if address[1]:
            said["server.port"] = int(address[1])
    if request is None:
        return said
    for ours, theirs in OPTIONAL.items():
        if request.HasField(ours):  # type: ignore[arg-type]
            said[f"gen_ai.request.{theirs}"] = getattr(request, ours)
    if request.stop:
        said["gen_ai.request.stop_sequences"] = list(request.stop)
    if request.n > 1:
        said["gen_ai.request.choice.count"] = request.n
    if stream:
        said["gen_ai.request.stream"] = True
    if request.response_format.type:
        text = request.response_format.type == chat.ResponseFormat.TYPE_TEXT
        said["gen_ai.output.type"] = "text" if text else "json"
    return said


OPTIONAL = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


@lru_cache(maxsize=1024)
def _address(base_url: str) -> tuple[str, str]:
    """Host and port; both empty of a model in a child process."""
    parts = urlsplit(base_url)
    if not parts.hostname:
        return "", ""
    return parts.hostname, str(parts.port or (443 if parts.scheme == "https" else 80))
