"""A streamed answer on OpenAI's wire as its pieces come: what is told on of it, and how it stands."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tollway.chat.v1 import chat_pb2 as chat


@dataclass(slots=True)
class Reading:
    count: Callable[[chat.ChoiceDelta], int]
    """Tokens of a delta."""
    tokens: int = 0
    usage: chat.Usage | None = None
    end: chat.ChatChunk | None = None
    """The piece with which a choice ended: it waits for the usage that follows it."""
    _open: set[int] = field(default_factory=set)
    _ended: set[int] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        """Whether each choice that was begun has come to its end."""
        return self._open <= self._ended

    def take(self, together: Iterable[chat.ChatChunk]) -> list[chat.ChatChunk]:
        """What can be told on of pieces that came at once: the words of one text as one piece, whose way costs no more than a word's."""
        ready = list[chat.ChatChunk]()
        for piece in together:
            if piece.HasField("usage"):
                self.usage = chat.Usage()
                self.usage.CopyFrom(piece.usage)
                piece.ClearField("usage")
            for choice in piece.choices:
                (self._ended if choice.finish_reason else self._open).add(choice.index)
                self.tokens += self.count(choice)
            if not piece.choices:
                continue
            if self.end is not None:
                ready.append(self.end)
                self.end = None
            if any(choice.finish_reason for choice in piece.choices):
                self.end = piece
            elif not (ready and _joined(ready[-1], piece)):
                ready.append(piece)
        return ready


def _joined(before: chat.ChatChunk, piece: chat.ChatChunk) -> bool:
    """Adds the words of `piece` to those of `before`, where both have nothing else to tell."""
    if len(before.choices) != 1 or len(piece.choices) != 1:
        return False
    into, more = before.choices[0], piece.choices[0]
    if into.index != more.index or not (_words_alone(into) and _words_alone(more)):
        return False
    into.content += more.content
    into.role = into.role or more.role
    into.logprobs.extend(more.logprobs)
    return True


def _words_alone(choice: chat.ChoiceDelta) -> bool:
    return not (choice.finish_reason or choice.refusal or choice.reasoning or choice.tool_calls or choice.citations)
