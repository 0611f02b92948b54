"""A whole answer as one piece of a stream, and pieces as a whole answer. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from tollway.chat.v1 import chat_pb2 as chat


def as_chunk(made: chat.ChatCompletion) -> chat.ChatChunk:
    """One piece that says all of `made`."""
    chunk = chat.ChatChunk(
        id=made.id, model=made.model, created=made.created, usage=made.usage, system_fingerprint=made.system_fingerprint
    )
    for choice in made.choices:
        said = choice.message
        delta = chunk.choices.add(
            index=choice.index,
            role=said.role or chat.ROLE_ASSISTANT,
            content="".join(part.text for part in said.parts),
            refusal=said.refusal,
            reasoning=said.reasoning,
            finish_reason=choice.finish_reason,
            logprobs=choice.logprobs,
            lookups=said.lookups,
            citations=said.citations,
            steps=said.steps,
            thoughts=said.thoughts,
        )
        for n, call in enumerate(said.tool_calls):
            delta.tool_calls.add(
                index=n, id=call.id, name=call.name, arguments=call.arguments, signature=call.signature
            )
    return chunk


@dataclass(slots=True)
class _Pieces:
    """What one choice has said, in the pieces that it came in: joined at its end, since joining at each takes the square of its length."""

    message: chat.Message
    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    arguments: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of each call."""

    def joined(self) -> None:
        """Writes them into the message, once."""
        said = self.message
        if self.content:
            said.parts.add(text="".join(self.content))
        if self.refusal:
            said.refusal += "".join(self.refusal)
        if self.reasoning:
            said.reasoning += "".join(self.reasoning)
        for n, pieces in self.arguments.items():
            said.tool_calls[n].arguments += "".join(pieces)
        for pieces in (self.content, self.refusal, self.reasoning, *self.arguments.values()):
            pieces.clear()


class Whole:
    """Puts pieces together; what was said is in the answer once it is `finished`, all else at any time."""

    def __init__(self) -> None:
        self.completion = chat.ChatCompletion()
        self._choices: dict[int, chat.Choice] = {}
        self._pieces: dict[int, _Pieces] = {}
        self.characters = 0
        """Written so far, for an estimate when the end never comes."""

    def add(self, chunk: chat.ChatChunk) -> None:
        made = self.completion
        if not made.id:
            made.id, made.model, made.system_fingerprint = chunk.id, chunk.model, chunk.system_fingerprint
            made.created.CopyFrom(chunk.created)
        if chunk.HasField("usage"):
            made.usage.CopyFrom(chunk.usage)
        for delta in chunk.choices:
            self._choice(delta)

    def finished(self) -> chat.ChatCompletion:
        """The answer. Every choice that was begun is in it."""
        for pieces in self._pieces.values():
            pieces.joined()
        self.completion.choices.sort(key=lambda choice: choice.index)
        return self.completion

    def _choice(self, delta: chat.ChoiceDelta) -> None:
        choice = self._choices.get(delta.index)
        if choice is None:
            choice = self._choices[delta.index] = self.completion.choices.add(index=delta.index)
            choice.message.role = chat.ROLE_ASSISTANT
            self._pieces[delta.index] = _Pieces(choice.message)
        said, pieces = choice.message, self._pieces[delta.index]
        if delta.content:
            pieces.content.append(delta.content)
            self.characters += len(delta.content)
        if delta.refusal:
            pieces.refusal.append(delta.refusal)
            self.characters += len(delta.refusal)
        if delta.reasoning:
            pieces.reasoning.append(delta.reasoning)
            self.characters += len(delta.reasoning)
        said.lookups.extend(delta.lookups)
        said.citations.extend(delta.citations)
        said.steps.extend(delta.steps)
        said.thoughts.extend(delta.thoughts)
        if delta.logprobs:
            choice.logprobs.extend(delta.logprobs)
        for piece in delta.tool_calls:
            while len(said.tool_calls) <= piece.index:
                said.tool_calls.add()
            call = said.tool_calls[piece.index]
            call.id, call.name = piece.id or call.id, piece.name or call.name
            call.signature = piece.signature or call.signature
            pieces.arguments[piece.index].append(piece.arguments)
            self.characters += len(piece.arguments)
        if delta.finish_reason:
            choice.finish_reason = delta.finish_reason
