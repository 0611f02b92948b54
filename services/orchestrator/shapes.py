"""A whole answer as one piece of a stream, and pieces as a whole answer. Pure."""

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


class Whole:
    """Puts pieces together; at any time it holds what was said so far."""

    def __init__(self) -> None:
        self.completion = chat.ChatCompletion()
        self._choices: dict[int, chat.Choice] = {}
        self._texts: dict[int, list[str]] = {}
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
        for index, texts in self._texts.items():
            if texts:
                self._choices[index].message.parts.add(text="".join(texts))
                texts.clear()
        self.completion.choices.sort(key=lambda choice: choice.index)
        return self.completion

    def _choice(self, delta: chat.ChoiceDelta) -> None:
        choice = self._choices.get(delta.index)
        if choice is None:
            choice = self._choices[delta.index] = self.completion.choices.add(index=delta.index)
            choice.message.role = chat.ROLE_ASSISTANT
            self._texts[delta.index] = []
        said = choice.message
        if delta.content:
            self._texts[delta.index].append(delta.content)
            self.characters += len(delta.content)
        if delta.refusal:
            said.refusal += delta.refusal
            self.characters += len(delta.refusal)
        if delta.reasoning:
            said.reasoning += delta.reasoning
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
            call.arguments += piece.arguments
            self.characters += len(piece.arguments)
        if delta.finish_reason:
            choice.finish_reason = delta.finish_reason
