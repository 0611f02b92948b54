"""What a turn adds to the conversation that it belongs to: what was asked anew, and what was answered, item by item."""

from collections.abc import Iterable, Iterator
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import jobs_pb2 as pb

from services.jobs import conversations
from services.jobs.conversations import Item
from services.jobs.life import Job

ROLE = chat.ROLE_ASSISTANT


async def added(connection: Any, jobs: Iterable[Job]) -> None:
    """Adds those that are turns to their conversations, within a transaction. One that was deleted meanwhile gets none.

    Always in the same order: who locks several at once would else meet another who does.
    """
    turns = [(one.conversation, one) for one in jobs if one.conversation is not None]
    for name, job in sorted(turns, key=lambda turn: turn[0]):
        asked, made = pb.Chat.FromString(job.request), pb.Result.FromString(job.result or b"").completion
        found = [
            Item(f"{kind}_{job.id.hex}{place:04x}", message.SerializeToString())
            for kind, place, message in items(asked, made)
        ]
        await conversations.added(connection, name, found, job.subject, made.road.sealed_map)


def items(asked: pb.Chat, made: gateway_pb2.CompleteResponse) -> Iterator[tuple[str, int, chat.Message]]:
    """Each by its kind and its place among those of its kind in the whole request and its answer."""
    turn = asked.options.turn
    said = asked.chat.messages[turn.instructed :]
    known = sum(1 for _ in _single(said[: turn.known]))
    for place, message in enumerate(_single(said[turn.known :]), known):
        yield "in", place, message
    for choice in made.completion.choices[:1]:
        yield from _answered(choice.message)


def _answered(said: chat.Message) -> Iterator[tuple[str, int, chat.Message]]:
    if said.reasoning or said.thoughts:
        yield "rs", 0, chat.Message(role=ROLE, reasoning=said.reasoning, thoughts=said.thoughts)
    for place, lookup in enumerate(said.lookups):
        yield "ws", place, chat.Message(role=ROLE, lookups=[lookup])
    for place, step in enumerate(said.steps):
        yield "mcp", place, chat.Message(role=ROLE, steps=[step])
    calls = 0
    for one in _single([said]):
        if one.tool_calls:
            yield "fc", calls, one
            calls += 1
        else:
            yield "msg", 0, one


def _single(messages: Iterable[chat.Message]) -> Iterator[chat.Message]:
    """What an assistant said, and each of its calls, as messages of their own."""
    for message in messages:
        if message.role != ROLE:
            yield message
            continue
        if any(map(_says, message.parts)) or message.refusal or not message.tool_calls:
            said = chat.Message(role=ROLE, parts=message.parts, citations=message.citations)
            if message.HasField("refusal"):
                said.refusal = message.refusal
            yield said
        for call in message.tool_calls:
            yield chat.Message(role=ROLE, tool_calls=[call])


def _says(part: chat.ContentPart) -> bool:
    return bool(part.text) or part.WhichOneof("part") != "text"
