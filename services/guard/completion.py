"""Inspects an answer as it streams: one state for each text of each choice."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from tollway.chat.v1 import chat_pb2 as chat

from services.guard.finding import Found
from services.guard.places import Places
from services.guard.policy import Policy, PromptBlocked
from services.guard.rules import Action
from services.guard.streams import Stream

FIELDS = ("content", "refusal", "reasoning")
Key = tuple[int, str, int]
Place = tuple[int, int]
"""Of a text among those of its choice: which of them comes when, and which of several calls."""
ORDER = {"reasoning": 0, "content": 1, "refusal": 1, "arguments": 2}
FIRST: Place = (0, 0)
LAST: Place = (len(ORDER), 0)


class Completion:
    """Give it chunks in order; each comes back with what may be shown, and at the end the rest."""

    def __init__(self, values: Mapping[str, str], policy: Policy, find: Callable[[str], Sequence[Found]]) -> None:
        self._values = values
        # No methods: what holds itself waits for the garbage collector.
        self._begun = partial(Stream, values, find, partial(_judged, policy))
        self._rewriting = partial(_whole, self._begun)
        self._streams: dict[Key, Stream] = {}
        self._places = defaultdict[int, Places](partial(Places, self._rewriting))
        """In each choice's text."""
        self._cited = defaultdict[int, list[chat.WebCitation]](list)
        """Of each choice, what waits for the text that rests on it."""
        self._ended: set[int] = set()
        self._last: chat.ChatChunk | None = None

    def feed(self, chunk: chat.ChatChunk) -> list[tuple[Found, Action]]:
        """Rewrites `chunk` in place; returns what was found in what the model made up.

        Raises:
            PromptBlocked: policy forbids what the model said.
        """
        self._last = chunk
        for choice in chunk.choices:
            self._choice(choice)
        return self._fresh()

    def end(self) -> tuple[chat.ChatChunk | None, list[tuple[Found, Action]]]:
        """A last piece with what no finish reason has let go, or None."""
        held = {key[0] for key, stream in self._streams.items() if stream.held}
        left = sorted((held | self._cited.keys()) - self._ended)
        if not left or self._last is None:
            return None, []
        made = chat.ChatChunk(id=self._last.id, model=self._last.model, created=self._last.created)
        for index in left:
            choice = made.choices.add(index=index)
            self._let_go(choice)
            self._cite(choice, ended=True)
        return made, self._fresh()

    def whole(self, made: chat.ChatCompletion) -> list[tuple[Found, Action]]:
        """Rewrites an answer that did not come in pieces; see `feed`."""
        for choice in made.choices:
            said = choice.message
            self._look(choice.index, said.lookups)
            self._cite_at_once(choice)
            for n, part in enumerate(said.parts):
                if part.text:
                    part.text = self._at_once((choice.index, "content", n), part.text)
            if said.refusal:
                said.refusal = self._at_once((choice.index, "refusal", 0), said.refusal)
            if said.reasoning:
                said.reasoning = self._at_once((choice.index, "reasoning", 0), said.reasoning)
            for n, call in enumerate(said.tool_calls):
                call.arguments = self._at_once((choice.index, "arguments", n), call.arguments, json_text=True)
            if self._changes:
                del choice.logprobs[:]
        return self._fresh()

    def _at_once(self, key: Key, text: str, *, json_text: bool = False) -> str:
        return self._stream(key, json_text=json_text).whole(text)

    def _cite_at_once(self, choice: chat.Choice) -> None:
        said = choice.message
        if not said.citations:
            return
        places = self._places[choice.index]
        for part in said.parts:
            places.add(part.text)
        for one in said.citations:
            self._move(one, places)

    def _move(self, one: chat.WebCitation, places: Places) -> None:
        """To where its stretch of the text will stand. What a page says is shown as what a model says is."""
        one.start, one.end = places.of(one.start), places.of(one.end)
        if one.quote:
            one.quote = self._rewriting()(one.quote)

    def _look(self, index: int, lookups: Iterable[chat.WebLookup]) -> None:
        """What was searched for is shown as the asker wrote it."""
        for n, one in enumerate(lookups):
            one.query = self._at_once((index, f"lookup {one.id}", n), one.query)

    @property
    def _changes(self) -> bool:
        """Whether texts may differ from what the model wrote: its tokens would tell what was masked."""
        return bool(self._values) or any(stream.touched for stream in self._streams.values())

    def _choice(self, choice: chat.ChoiceDelta) -> None:
        held, over = False, FIRST
        for name in FIELDS:
            if text := getattr(choice, name):
                over = max(over, (ORDER[name], 0))
                setattr(choice, name, self._stream((choice.index, name, 0)).feed(text))
                if name == "content":
                    self._places[choice.index].add(text)
                held = True
        self._look(choice.index, choice.lookups)
        for call in choice.tool_calls:
            over = max(over, (ORDER["arguments"], call.index))
            if call.arguments:
                key = (choice.index, "arguments", call.index)
                call.arguments = self._stream(key, json_text=True).feed(call.arguments)
                held = True
        if (
            choice.tool_calls or len(self._streams) > 1
        ):  # wires that tell one text after the other cannot come back to one
            self._let_go(choice, over)
        if choice.finish_reason:
            self._let_go(choice)
            self._ended.add(choice.index)
        if choice.citations or choice.index in self._cited:
            self._cite(choice, ended=bool(choice.finish_reason))
        if held and self._changes:
            del choice.logprobs[:]

    def _cite(self, choice: chat.ChoiceDelta, *, ended: bool) -> None:
        """Citations go with the text that rests on them, or after it."""
        places, held = self._places[choice.index], self._stream((choice.index, "content", 0)).held
        waiting = [*self._cited.pop(choice.index, ()), *choice.citations]
        del choice.citations[:]
        for one in waiting:
            if ended or one.end <= places.characters - held:
                self._move(one, places)
                choice.citations.append(one)
            else:
                self._cited[choice.index].append(one)

    def _let_go(self, choice: chat.ChoiceDelta, over: Place = LAST) -> None:
        """Adds to `choice` what its texts before `over` hold back."""
        calls: list[chat.ToolCallDelta] = []
        for (index, name, call), stream in self._streams.items():
            if index != choice.index or not stream.held or (ORDER[name], call) >= over:
                continue
            rest = stream.end()
            if name != "arguments":
                setattr(choice, name, getattr(choice, name) + rest)
            elif (same := next((one for one in choice.tool_calls if one.index == call), None)) is not None:
                same.arguments += rest
            else:
                calls.append(chat.ToolCallDelta(index=call, arguments=rest))
        if calls:
            calls.extend(choice.tool_calls)
            del choice.tool_calls[:]
            choice.tool_calls.extend(calls)

    def _stream(self, key: Key, *, json_text: bool = False) -> Stream:
        if key not in self._streams:
            self._streams[key] = self._begun(json_text=json_text)
        return self._streams[key]

    def _fresh(self) -> list[tuple[Found, Action]]:
        return [one for stream in self._streams.values() for one in stream.taken()]


def _whole(begun: Callable[[], Stream]) -> Callable[[str], str]:
    """A way of rewriting a text stretch by stretch."""
    return begun().whole


def _judged(policy: Policy, found: Sequence[Found]) -> list[tuple[Found, Action]]:
    """
    Raises:
        PromptBlocked: policy forbids what the model said.
    """
    if not found:
        return []
    judged, verdict = policy.judged(policy.completion, "completion", found)
    if verdict.action is Action.BLOCK:
        raise PromptBlocked(rule=verdict.rule)
    return judged
