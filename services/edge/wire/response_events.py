"""The events of a response that is streamed, made of our pieces: each item is opened, grows and is closed in its turn."""

from collections.abc import Iterator
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import file_search, own_tools, response, sse
from services.edge.wire.errors import Refusal
from services.edge.wire.gathered import Gathered
from services.edge.wire.own_tools import NO_OWN, Own
from services.edge.wire.signed import encrypted, extra


class Events:
    """Server-sent events for one response; `said` is what they have told so far."""

    def __init__(self, frame: dict[str, Any], own: Own = NO_OWN) -> None:
        self.said, self._own = frame, own
        self.gathered = Gathered()
        self._number = -1
        self._open: str = ""
        """What is being said: `reasoning`, `text`, `refusal`, or `call N`."""
        self._item: dict[str, Any] = {}
        self._text = ""
        self._cited: list[dict[str, Any]] = []
        self._thoughts: list[str] = []
        """Of the item that is being thought, sealed."""
        self._cut: str | None = None
        self.searched: file_search.Searched | None = None
        """Vector stores that the answer rests on."""

    def begin(self) -> bytes:
        begun = [self._event(f"response.{state}", response=self.said) for state in ("created", "in_progress")]
        if self.searched is not None:
            item = self.searched.item(response.item_id(response.FILES, self.said["id"], 0))
            begun.extend(self._looked(file_search.CALL, item))
        return b"".join(begun)

    def add(self, chunk: chat.ChatChunk) -> bytes:
        self.gathered.add(chunk)
        return b"".join(self._added(chunk))

    def end(self, said: pb.StreamCompleteResponse) -> bytes:
        return b"".join(self._ended(said.chunk.usage))

    def fail(self, refusal: Refusal) -> bytes:
        self.said |= {"status": "failed", "error": response.failure(refusal)}
        return self._event("response.failed", response=self.said)

    def _added(self, chunk: chat.ChatChunk) -> Iterator[bytes]:
        self.said["model"] = chunk.model or self.said["model"]
        for delta in chunk.choices:
            if delta.reasoning:
                yield from self._grow("reasoning", delta.reasoning)
            if delta.thoughts:
                yield from self._grow("reasoning", "")
                self._thoughts.extend(delta.thoughts)
                self._item |= encrypted(self._thoughts)
            for one in delta.lookups:
                yield from self._looked_up(one)
            for step in delta.steps:
                yield from self._stepped(step)
            if delta.content:
                yield from self._grow("text", delta.content)
            for found in delta.citations:
                yield from self._cite(response.annotation(found))
            if delta.refusal:
                yield from self._grow("refusal", delta.refusal)
            for call in delta.tool_calls:
                yield from self._grow(f"call {call.index}", call.arguments, call)
                self._item |= extra(call.signature)
            self._cut = response.CUT.get(delta.finish_reason, self._cut)

    def _ended(self, usage: chat.Usage) -> Iterator[bytes]:
        if not self._open and not self.said["output"]:  # a model that said nothing has answered, too
            yield from self._grow("text", "")
        yield from self._close()
        self.said |= {"status": "incomplete" if self._cut else "completed", "usage": response.usage(usage)}
        if self._cut:
            self.said["incomplete_details"] = {"reason": self._cut}
        yield self._event(f"response.{self.said['status']}", response=self.said)

    def _grow(self, kind: str, text: str, call: chat.ToolCallDelta | None = None) -> Iterator[bytes]:
        if self._open != kind:
            yield from self._close()
            yield from self._begin_item(kind, call)
        self._text += text
        if text and own_tools.INPUT not in self._item:
            yield self._at(f"{DELTAS[kind.partition(' ')[0]]}.delta", delta=text)

    def _begin_item(self, kind: str, call: chat.ToolCallDelta | None) -> Iterator[bytes]:
        self._open, self._text, self._cited, self._thoughts = kind, "", [], []
        if call is not None:
            said = chat.ToolCall(id=call.id, name=call.name)
            name = response.item_id("fc", self.said["id"], call.index)
            self._item = response.call_item(name, said, "in_progress", self._own)
        elif kind == "reasoning":
            self._item = {"type": "reasoning", "id": self._name("rs", "reasoning"), "summary": []}
        else:
            self._item = response.message_item(self._name("msg", "message"), "in_progress", [])
        yield self._event("response.output_item.added", output_index=self._index, item=self._item)
        if kind == "reasoning":
            yield self._at("response.reasoning_summary_part.added", part=_part(kind, ""))
        elif call is None:
            yield self._at("response.content_part.added", part=_part(kind, ""))

    def _looked_up(self, one: chat.WebLookup) -> Iterator[bytes]:
        yield from self._close()
        yield from self._looked(response.SEARCH, response.search_item(self._name("ws", response.SEARCH), one))

    def _looked(self, kind: str, item: dict[str, Any]) -> Iterator[bytes]:
        """A search, from its beginning to its end."""
        begun = {**item, "status": "in_progress"}
        place = {"item_id": item["id"], "output_index": self._index}
        yield self._event("response.output_item.added", output_index=self._index, item=begun)
        for state in ("in_progress", "searching", "completed"):
            yield self._event(f"response.{kind}.{state}", **place)
        yield self._event("response.output_item.done", output_index=self._index, item=item)
        self.said["output"].append(item)

    def _stepped(self, one: chat.ToolStep) -> Iterator[bytes]:
        yield from self._close()
        self._item = response.step_item(self._name("mcp", response.CALLED), one)
        begun = {**self._item, "status": "in_progress", "output": None, "error": None}
        place = {"item_id": self._item["id"], "output_index": self._index}
        yield self._event("response.output_item.added", output_index=self._index, item=begun)
        yield self._event("response.mcp_call_arguments.done", arguments=one.arguments, **place)
        for state in ("in_progress", self._item["status"]):
            yield self._event(f"response.{response.CALLED}.{state}", **place)
        yield self._event("response.output_item.done", output_index=self._index, item=self._item)
        self.said["output"].append(self._item)

    def _cite(self, annotation: dict[str, Any]) -> Iterator[bytes]:
        yield from self._grow("text", "")
        place = len(self._cited)
        self._cited.append(annotation)
        yield self._at("response.output_text.annotation.added", annotation_index=place, annotation=annotation)

    def _close(self) -> Iterator[bytes]:
        if not (kind := self._open):
            return
        if kind == "text" and self.searched is not None:
            for one in self.searched.annotations(self._text):
                yield from self._cite(one)
        name, part = DELTAS[kind.partition(" ")[0]], _part(kind, self._text)
        if kind == "text":
            part["annotations"] = self._cited
        match kind:
            case "reasoning":
                yield self._at(f"{name}.done", text=self._text)
                yield self._at("response.reasoning_summary_part.done", part=part)
                self._item["summary"] = [part]
            case "text" | "refusal":
                yield self._at(f"{name}.done", **{kind: self._text}, **({"logprobs": []} if kind == "text" else {}))
                yield self._at("response.content_part.done", part=part)
                self._item |= {"status": "completed", "content": [part]}
            case _ if own_tools.INPUT in self._item:  # of which nothing was told yet: a text is known by its end
                given = own_tools.text_of(self._text)
                self._item |= {"status": "completed", own_tools.INPUT: given}
                yield self._at(f"{INPUT_EVENTS}.delta", delta=given)
                yield self._at(f"{INPUT_EVENTS}.done", input=given)
            case _:
                self._item |= {"status": "completed", "arguments": self._text}
                yield self._at(f"{name}.done", arguments=self._text, name=self._item["name"])
        yield self._event("response.output_item.done", output_index=self._index, item=self._item)
        self.said["output"].append(self._item)
        self._open = ""

    @property
    def _index(self) -> int:
        return len(self.said["output"])

    def _name(self, short: str, kind: str) -> str:
        return response.item_id(short, self.said["id"], sum(one["type"] == kind for one in self.said["output"]))

    def _at(self, name: str, /, **more: Any) -> bytes:
        """An event about what is open."""
        place: dict[str, Any] = {"item_id": self._item["id"], "output_index": self._index}
        if self._open == "reasoning":
            place["summary_index"] = 0
        elif not self._open.startswith("call"):
            place["content_index"] = 0
        if name == "response.output_text.delta":
            more["logprobs"] = []
        return self._event(name, **place, **more)

    def _event(self, name: str, /, **more: Any) -> bytes:
        self._number += 1
        return self._framed(name, {"type": name, "sequence_number": self._number, **more})

    def _framed(self, name: str, said: dict[str, Any]) -> bytes:
        return sse.event(name, said)


INPUT_EVENTS = "response.custom_tool_call_input"
DELTAS = {
    "reasoning": "response.reasoning_summary_text",
    "text": "response.output_text",
    "refusal": "response.refusal",
    "call": "response.function_call_arguments",
}


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "summary_text", "text": text}
    return response.refusal_part(text) if kind == "refusal" else response.text_part(text)
