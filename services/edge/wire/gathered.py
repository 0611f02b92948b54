"""The pieces of a streamed answer put together again: the message that they make."""

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb


class Gathered:
    """Of the first choice alone, which is all that is kept."""

    def __init__(self) -> None:
        self._choice = chat.Choice(message=chat.Message(role=chat.ROLE_ASSISTANT))
        self._said: list[str] = []
        self._thought: list[str] = []
        self._calls: dict[int, tuple[chat.ToolCall, list[str]]] = {}
        """By the place that the provider gives them, with the pieces of their arguments."""

    def add(self, chunk: chat.ChatChunk) -> None:
        for delta in chunk.choices:
            if delta.index:
                continue
            self._said.append(delta.content)
            self._thought.append(delta.reasoning)
            if delta.refusal:
                self._choice.message.refusal += delta.refusal
            self._choice.message.lookups.extend(delta.lookups)
            self._choice.message.citations.extend(delta.citations)
            self._choice.message.steps.extend(delta.steps)
            self._choice.message.thoughts.extend(delta.thoughts)
            for call in delta.tool_calls:
                made, arguments = self._calls.setdefault(call.index, (chat.ToolCall(), []))
                made.id, made.name = call.id or made.id, call.name or made.name
                made.signature = call.signature or made.signature
                arguments.append(call.arguments)
            self._choice.finish_reason = delta.finish_reason or self._choice.finish_reason

    def whole(self, last: pb.StreamCompleteResponse) -> pb.CompleteResponse:
        """The answer as if it had not been streamed; `last` told its usage and what happened on the road."""
        message = self._choice.message
        message.reasoning = "".join(self._thought)
        if text := "".join(self._said):
            message.parts.add(text=text)
        for _, (call, arguments) in sorted(self._calls.items()):
            call.arguments = "".join(arguments)
            message.tool_calls.append(call)
        made = chat.ChatCompletion(
            id=last.chunk.id, model=last.chunk.model, choices=[self._choice], usage=last.chunk.usage
        )
        if last.chunk.HasField("created"):
            made.created.CopyFrom(last.chunk.created)
        return pb.CompleteResponse(completion=made, road=last.road)
