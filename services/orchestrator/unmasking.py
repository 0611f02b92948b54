"""What a model says in a session, restored piece by piece: one inspection of the guard's for each part of each item."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.guard.v1 import guard_pb2

from services.orchestrator.dialogue import Event, said_in
from services.orchestrator.peers import Peers

MOST_KEPT = 1_024
"""Texts that events to come may repeat: of the latest items."""
WITHIN_S = 5.0
ARGUMENTS = "response.function_call_arguments."
SAYS = {
    "response.output_text.": "text",
    "response.output_audio_transcript.": "transcript",
    ARGUMENTS: "arguments",
}
"""What these events' `done` calls the text that their `delta`s brought."""
Key = tuple[str, int]
"""An item, and which part of it; -1 for the arguments of a call."""


@dataclass(slots=True)
class Unmasking:
    peers: Peers
    own: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """What the caller wrote, by what was sent in its place."""
    _open: dict[Key, "_Part"] = field(default_factory=dict)
    _shown: OrderedDict[Key, str] = field(default_factory=OrderedDict)

    def sent(self, masked: str, text: str) -> None:
        if masked != text:
            _kept(self.own, masked, text)

    async def delta(self, event: Event, sealed_map: bytes) -> Event | None:
        """The event with what may be shown of it; None while nothing may.

        Raises:
            AioRpcError: policy forbids what is said.
        """
        key, kind = _key(event), event["type"].rpartition(".")[0] + "."
        if (part := self._open.get(key)) is None:
            part = self._open[key] = await _Part.begun(self.peers, sealed_map, arguments=kind == ARGUMENTS)
        shown = await part.feed(str(event.get("delta") or ""))
        part.last = event
        return {**event, "delta": shown} if shown else None

    async def done(self, event: Event, sealed_map: bytes) -> list[Event]:
        """What was still held back, and the end with the whole text."""
        name = next(name for kind, name in SAYS.items() if event["type"].startswith(kind))
        key = _key(event)
        if (part := self._open.pop(key, None)) is None:
            text = await self._at_once(str(event.get(name) or ""), sealed_map, arguments=name == "arguments")
            _kept(self._shown, key, text)
            return [{**event, name: text}]
        rest = await part.end()
        _kept(self._shown, key, part.text)
        more = [{**part.last, "event_id": f"{event.get('event_id')}_rest", "delta": rest}] if rest else []
        return [*more, {**event, name: part.text}]

    async def item(self, item: Any, sealed_map: bytes) -> None:
        """Has an item that an event repeats say what its parts said, in place."""
        if not isinstance(item, dict):
            return
        for n, text in said_in(item):
            key, value = (str(item.get("id") or ""), n), text.value
            if not value:
                continue
            if (shown := self._shown.get(key)) is None:
                shown = self.own.get(value)
            if shown is None and text.role not in (chat.ROLE_USER, chat.ROLE_SYSTEM):
                shown = await self._at_once(value, sealed_map, arguments=text.name == "arguments")
            if shown is not None:
                text.put(shown)

    def close(self) -> None:
        for part in self._open.values():
            part.close()
        self._open.clear()

    async def _at_once(self, text: str, sealed_map: bytes, *, arguments: bool) -> str:
        if not text:
            return text
        part = await _Part.begun(self.peers, sealed_map, arguments=arguments)
        try:
            await part.feed(text)
            await part.end()
        finally:
            part.close()
        return part.text


@dataclass(slots=True)
class _Part:
    """One text under way."""

    call: Any
    arguments: bool
    text: str = ""
    last: Event = field(default_factory=dict)

    @classmethod
    async def begun(cls, peers: Peers, sealed_map: bytes, *, arguments: bool) -> "_Part":
        call = peers.guard.InspectCompletion()
        await call.write(guard_pb2.InspectCompletionRequest(open=guard_pb2.OpenCompletion(sealed_map=sealed_map)))
        return cls(call, arguments)

    async def feed(self, piece: str) -> str:
        """What may be shown now. The guard answers every piece with one."""
        choice = chat.ChoiceDelta(content="" if self.arguments else piece)
        if self.arguments:
            choice.tool_calls.add(index=0, id="call", name="" if self.text else "call", arguments=piece)
        await self.call.write(guard_pb2.InspectCompletionRequest(chunk=chat.ChatChunk(choices=[choice])))
        seen = await self.call.read()  # raises what the guard refuses with
        return self._took(seen) if seen is not grpc.aio.EOF else ""

    async def end(self) -> str:
        """What it held back."""
        await self.call.done_writing()
        rest = ""
        while (seen := await self.call.read()) is not grpc.aio.EOF:
            rest += self._took(seen)
        return rest

    def close(self) -> None:
        self.call.cancel()

    def _took(self, seen: guard_pb2.InspectCompletionResponse) -> str:
        shown = "".join(one.content + "".join(call.arguments for call in one.tool_calls) for one in seen.chunk.choices)
        self.text += shown
        return shown


def _key(event: Event) -> Key:
    if event["type"].startswith(ARGUMENTS):
        return str(event.get("item_id") or ""), -1
    n = event.get("content_index")
    return str(event.get("item_id") or ""), n if isinstance(n, int) else 0


def _kept(texts: "OrderedDict[Any, str]", key: Any, text: str) -> None:
    texts[key] = text
    texts.move_to_end(key)
    while len(texts) > MOST_KEPT:
        texts.popitem(last=False)
