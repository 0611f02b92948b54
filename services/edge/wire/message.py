"""A message as Anthropic publishes it: whole, as the events of a stream, and what a refusal looks like there."""

from collections.abc import Iterator
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import sse
from services.edge.wire.answer import citations
from services.edge.wire.cited import SEARCHED, cited, looked_up, text_block, texts
from services.edge.wire.errors import Refusal

STOPS = {
    chat.FINISH_REASON_STOP: "end_turn",
    chat.FINISH_REASON_LENGTH: "max_tokens",
    chat.FINISH_REASON_TOOL_CALLS: "tool_use",
    chat.FINISH_REASON_CONTENT_FILTER: "refusal",
}
PREFIX = "msg_"
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""By status; anything else is `api_error`, or `invalid_request_error` where the caller did it."""


def whole(made: chat.ChatCompletion, road: pb.Road) -> bytes:
    choice = made.choices[0] if made.choices else chat.Choice()
    said = choice.message
    content: list[dict[str, Any]] = []
    content += _thoughts(said)
    for n, one in enumerate(said.lookups):
        content += looked_up(one, f"{SEARCHED}{road.trace_id}{n}")
    for step in said.steps:
        content += stepped(step)
    if text := "".join(part.text or part.refusal for part in said.parts) + (
        said.refusal if said.HasField("refusal") else ""
    ):
        content += texts(text, said.citations)
    content += [_call(one.id, one.name, arguments(one.arguments)) for one in said.tool_calls]
    stop = "refusal" if said.refusal else STOPS.get(choice.finish_reason, "end_turn")
    documents = {"citations": citations(road)} if road.citations else {}
    return orjson.dumps(
        {
            **documents,
            **frame(made.id, road, made.model),
            "content": content,
            "stop_reason": stop,
            "usage": usage(made.usage),
        }
    )


def frame(name: str, road: pb.Road, model: str) -> dict[str, Any]:
    return {
        "id": name if name.startswith(PREFIX) else f"{PREFIX}{road.trace_id}",
        "type": "message",
        "role": "assistant",
        "model": model or road.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage(chat.Usage()),
    }


def usage(made: chat.Usage) -> dict[str, Any]:
    """What a provider's own cache held, or took in, is counted apart here."""
    cached, kept = made.cached_input_tokens, made.kinds.cache_write_tokens
    searched = {"server_tool_use": {"web_search_requests": made.web_searches}} if made.web_searches else {}
    return {
        "input_tokens": max(made.input_tokens - cached - kept, 0),
        "cache_creation_input_tokens": kept,
        "cache_read_input_tokens": cached,
        "output_tokens": made.output_tokens,
        **searched,
    }


def refused(refusal: Refusal) -> dict[str, Any]:
    kind = ERRORS.get(refusal.status) or ("invalid_request_error" if refusal.status < 500 else "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": refusal.message, "code": refusal.code, "param": refusal.param},
    }


class Events:
    """Server-sent events for one message: each block is opened, grows and is closed in its turn."""

    def __init__(self, road: pb.Road) -> None:
        self._road = road
        self._index = -1
        self._open = ""
        """What is being said: `text`, `thinking`, or `call N`."""
        self._begun = False
        self._sealed: list[str] = []
        """Thoughts to be signed once they are told to their end: what the guard holds back of one comes after its seal."""
        self._stop = "end_turn"

    def begin(self) -> bytes:
        return b""

    def add(self, chunk: chat.ChatChunk) -> bytes:
        return b"".join(self._added(chunk))

    def end(self, said: pb.StreamCompleteResponse) -> bytes:
        return b"".join(self._ended(said.chunk))

    def fail(self, refusal: Refusal) -> bytes:
        return sse.event("error", refused(refusal))

    def _added(self, chunk: chat.ChatChunk) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield _event("message_start", message=frame(chunk.id, self._road, chunk.model))
        for delta in chunk.choices:
            if delta.reasoning:
                yield from self._grow("thinking", _thought(""), {"type": "thinking_delta", "thinking": delta.reasoning})
            self._sealed.extend(delta.thoughts)
            for one in delta.lookups:
                yield from self._beside(*looked_up(one, f"{SEARCHED}{self._road.trace_id}{self._index + 1}"))
            for step in delta.steps:
                yield from self._beside(*stepped(step))
            if text := delta.content or delta.refusal:
                yield from self._grow("text", text_block(""), {"type": "text_delta", "text": text})
            for found in delta.citations:
                yield from self._grow("text", text_block(""), {"type": "citations_delta", "citation": cited(found)})
            if delta.citations:
                yield from self._close()  # what comes next rests on something else
            if delta.refusal:
                self._stop = "refusal"
            for call in delta.tool_calls:
                piece = {"type": "input_json_delta", "partial_json": call.arguments}
                yield from self._grow(
                    f"call {call.index}", _call(call.id, call.name, {}), piece if call.arguments else None
                )
            if self._stop != "refusal":
                self._stop = STOPS.get(delta.finish_reason, self._stop)

    def _ended(self, chunk: chat.ChatChunk) -> Iterator[bytes]:
        if not self._begun:  # a model that said nothing at all has answered, too
            yield from self._added(chunk)
        yield from self._sign()
        yield from self._close()
        yield _event(
            "message_delta", delta={"stop_reason": self._stop, "stop_sequence": None}, usage=usage(chunk.usage)
        )
        yield _event("message_stop")

    def _sign(self) -> Iterator[bytes]:
        """Each thought in a block of its own, the first in that which told what was thought."""
        sealed, self._sealed = self._sealed, []
        for one in sealed:
            yield from self._grow("thinking", _thought(""), {"type": "signature_delta", "signature": one})
            yield from self._close()

    def _grow(self, kind: str, block: dict[str, Any], delta: dict[str, Any] | None) -> Iterator[bytes]:
        if kind != "thinking" and self._sealed:
            yield from self._sign()
        if self._open != kind:
            yield from self._close()
            self._open, self._index = kind, self._index + 1
            yield _event("content_block_start", index=self._index, content_block=block)
        if delta is not None:
            yield _event("content_block_delta", index=self._index, delta=delta)

    def _beside(self, asked: dict[str, Any], found: dict[str, Any]) -> Iterator[bytes]:
        """What was asked of somebody else, and what was found."""
        said = orjson.dumps(asked["input"]).decode()
        for kind, block, delta in (
            ("asked", {**asked, "input": {}}, {"type": "input_json_delta", "partial_json": said}),
            ("found", found, None),
        ):
            yield from self._grow(kind, block, delta)
        yield from self._close()

    def _close(self) -> Iterator[bytes]:
        if self._open:
            yield _event("content_block_stop", index=self._index)
            self._open = ""


def _event(name: str, **more: Any) -> bytes:
    return sse.event(name, {"type": name, **more})


def _thoughts(said: chat.Message) -> list[dict[str, Any]]:
    """What was thought, in the first block; each is signed by what is handed in again."""
    if not (said.reasoning or said.thoughts):
        return []
    first, *more = said.thoughts or ("",)
    return [_thought(said.reasoning, first), *(_thought("", one) for one in more)]


def _thought(text: str, sealed: str = "") -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": sealed}


def arguments(text: str) -> Any:
    """As an object, whatever a model wrote: what is no JSON is told as it is."""
    try:
        said = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {"invalid_json": text}
    return said if isinstance(said, dict) else {"value": said}


def stepped(one: chat.ToolStep) -> tuple[dict[str, Any], dict[str, Any]]:
    """The blocks of a tool that the mesh called, and of what it said."""
    asked = {"type": "mcp_tool_use", "id": one.id, "name": one.name, "server_name": one.server}
    content = [{"type": "text", "text": one.output}]
    return (
        {**asked, "input": arguments(one.arguments)},
        {"type": "mcp_tool_result", "tool_use_id": one.id, "is_error": one.failed, "content": content},
    )


def _call(name: str, function: str, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": function, "input": arguments}
