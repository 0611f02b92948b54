"""What a model said, to be looked at as a whole and rewritten: an answer at once, or all pieces of one that came as a stream."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from tollway.chat.v1 import chat_pb2 as chat

FIELDS = ("reasoning", "content", "refusal")


class Answer(Protocol):
    def texts(self) -> list[str]:
        """What is read by people, in order."""
        ...

    def calls(self) -> list[dict[str, Any]]:
        """Functions that are called, as OpenAI has them."""
        ...

    def rewrite(self, texts: Sequence[str]) -> None:
        """Each text anew, in the same order."""
        ...


class Whole:
    """An answer that came at once."""

    def __init__(self, made: chat.ChatCompletion) -> None:
        self._made = made

    def texts(self) -> list[str]:
        return [text for text, _ in self._places()]

    def calls(self) -> list[dict[str, Any]]:
        return [
            _call(one.id, one.name, one.arguments) for choice in self._made.choices for one in choice.message.tool_calls
        ]

    def rewrite(self, texts: Sequence[str]) -> None:
        """What rests on a stretch of another text rests on nothing."""
        for (_, write), text in zip(list(self._places()), texts, strict=True):
            write(text)
        for choice in self._made.choices:
            del choice.message.citations[:]
            del choice.logprobs[:]

    def _places(self) -> Iterator[tuple[str, Callable[[str], None]]]:
        for choice in self._made.choices:
            said = choice.message
            if said.reasoning:
                yield said.reasoning, _writer(said, "reasoning")
            for part in said.parts:
                if part.text:
                    yield part.text, _writer(part, "text")
            if said.refusal:
                yield said.refusal, _writer(said, "refusal")


class Pieces:
    """An answer that comes as a stream and is held until all of it is there."""

    def __init__(self) -> None:
        self.chunks: list[chat.ChatChunk] = []

    def hold(self, chunk: chat.ChatChunk) -> None:
        """Keeps a piece, and leaves of it what says nothing yet."""
        kept = chat.ChatChunk()
        kept.CopyFrom(chunk)
        self.chunks.append(kept)
        for choice in chunk.choices:
            index = choice.index
            choice.Clear()
            choice.index = index
        chunk.ClearField("usage")

    def texts(self) -> list[str]:
        return ["".join(getattr(one, name) for one in deltas) for name, deltas in self._places()]

    def calls(self) -> list[dict[str, Any]]:
        made: dict[tuple[int, int], list[str]] = {}
        for choice in self._choices():
            for one in choice.tool_calls:
                call = made.setdefault((choice.index, one.index), ["", "", ""])
                for n, said in enumerate((one.id, one.name, one.arguments)):
                    call[n] += said
        return [_call(*made[key]) for key in sorted(made)]

    def rewrite(self, texts: Sequence[str]) -> None:
        """Into the first piece of each text."""
        for (name, deltas), text in zip(list(self._places()), texts, strict=True):
            for one in deltas:
                setattr(one, name, "")
            setattr(deltas[0], name, text)
        for choice in self._choices():
            del choice.citations[:]
            del choice.logprobs[:]

    def _choices(self) -> Iterator[chat.ChoiceDelta]:
        return (choice for chunk in self.chunks for choice in chunk.choices)

    def _places(self) -> Iterator[tuple[str, list[chat.ChoiceDelta]]]:
        """Each text by its field, and the pieces that it is in."""
        for index in sorted({choice.index for choice in self._choices()}):
            for name in FIELDS:
                if deltas := [one for one in self._choices() if one.index == index and getattr(one, name)]:
                    yield name, deltas


def _writer(message: Any, name: str) -> Callable[[str], None]:
    return lambda text: setattr(message, name, text)


def _call(name: str, function: str, arguments: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": function, "arguments": arguments}}
