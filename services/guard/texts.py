"""Where text stands in a conversation: one place a part, a tool call's arguments after the parts."""

from collections.abc import Callable, Iterator

from msgspec import Struct
from tollway.chat.v1 import chat_pb2 as chat


class Place(Struct, frozen=True):
    """One text of a request, by message and part."""

    message: int
    part: int
    text: str
    role: int
    json: bool = False


def places(messages: list[chat.Message]) -> Iterator[Place]:
    for m, message in enumerate(messages):
        n = 0
        for n, part in enumerate(message.parts):
            kind = part.WhichOneof("part")
            if kind in ("text", "refusal"):
                yield Place(m, n, getattr(part, kind), message.role)
        for extra, call in enumerate(message.tool_calls, len(message.parts)):
            yield Place(m, extra, call.arguments, message.role, json=True)


def rewritten(messages: list[chat.Message], write: Callable[[Place], str]) -> list[chat.Message]:
    """Copies of `messages` with every text put through `write`."""
    made = [chat.Message.FromString(message.SerializeToString()) for message in messages]
    for place in places(messages):
        target = made[place.message]
        text = write(place)
        if place.json:
            target.tool_calls[place.part - len(target.parts)].arguments = text
        elif target.parts[place.part].WhichOneof("part") == "text":
            target.parts[place.part].text = text
        else:
            target.parts[place.part].refusal = text
    return made
