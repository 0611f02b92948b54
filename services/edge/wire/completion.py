"""OpenAI's older completions: a text to go on from, and what was written."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta, Raw, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import answer, body, request
from services.edge.wire.errors import Refusal, decoded

USUAL_TOKENS = 16
"""OpenAI's own, where nothing is said."""
MOST_TEXTS = 128
SAME = (
    "temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "top_k", "min_p", "repetition_penalty",
)  # fmt: skip
Text = Annotated[str, Meta(min_length=1)]


class CompletionBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent. A text is said as text: not every model has the caller's tokens."""

    model: body.Name
    prompt: Text | Annotated[list[Text], Meta(min_length=1, max_length=MOST_TEXTS)]
    suffix: str | None = None
    max_tokens: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stream: bool | None = None
    stream_options: body.StreamOptions | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    presence_penalty: body.Penalty | None = None
    frequency_penalty: body.Penalty | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    top_k: body.TopK | None = None
    """This and the next two are what servers of open models take beside OpenAI's fields."""
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    tollway: Raw = Raw()
    """How Tollway is to treat the request: see [services.edge.wire.options][]."""
    # What would be said beside the text is not told, and nothing is chosen by it.
    echo: Literal[False] | None = None
    logprobs: Literal[0] | None = None
    best_of: Literal[1] | None = None


_COMPLETION = msgspec.json.Decoder(CompletionBody)


def parsed(raw: bytes) -> CompletionBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    said = decoded(_COMPLETION, raw)
    if said.stream and len(texts(said)) > 1:
        raise Refusal(400, "invalid_value", "invalid value for prompt: a stream goes on from one text", param="prompt")
    return said


def texts(said: CompletionBody) -> list[str]:
    return [said.prompt] if isinstance(said.prompt, str) else said.prompt


def chat_request(said: CompletionBody, text: str) -> chat.ChatRequest:
    """The request for one of its texts, in our words."""
    made = chat.ChatRequest(model=said.model, text_completion=True)
    parts = [chat.ContentPart(text=text), *([chat.ContentPart(text=said.suffix)] if said.suffix else [])]
    made.messages.add(role=chat.ROLE_USER, parts=parts)
    request.taken(made, said, SAME)
    made.max_output_tokens = USUAL_TOKENS if said.max_tokens is None else said.max_tokens
    made.user = said.user or ""
    return made


def completion(made: Sequence[pb.CompleteResponse]) -> bytes:
    """A `text_completion` object of the answers to all texts, in their order."""
    first, choices, used = made[0], list[dict[str, Any]](), chat.Usage()
    for one in made:
        choices += [_choice(len(choices) + n, choice) for n, choice in enumerate(one.completion.choices)]
        used.input_tokens += one.completion.usage.input_tokens
        used.output_tokens += one.completion.usage.output_tokens
        used.cached_input_tokens += one.completion.usage.cached_input_tokens
        used.reasoning_tokens += one.completion.usage.reasoning_tokens
    said = _frame(first.completion, first.road)
    return orjson.dumps({**said, "choices": choices, "usage": answer.usage(used)})


class Chunks(answer.Chunks):
    """`text_completion` events, one a piece, and `[DONE]` after the last."""

    def _choices(self, chunk: chat.ChatChunk) -> list[dict[str, Any]]:
        told = [one for one in chunk.choices if one.content or one.finish_reason]
        return [_shaped(one.index, one.content, answer.FINISHES.get(one.finish_reason)) for one in told]

    def _frame(self, piece: chat.ChatChunk) -> dict[str, Any]:
        return _frame(piece, self._road)


def _frame(made: chat.ChatCompletion | chat.ChatChunk, road: pb.Road) -> dict[str, Any]:
    return {
        "id": made.id or f"cmpl-{road.trace_id}",
        "object": "text_completion",
        "created": made.created.seconds or int(time.time()),
        "model": made.model,
        "system_fingerprint": made.system_fingerprint or None,
    }


def _choice(index: int, one: chat.Choice) -> dict[str, Any]:
    text = "".join(part.text for part in one.message.parts)
    return _shaped(index, text, answer.FINISHES.get(one.finish_reason, "stop"))


def _shaped(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
