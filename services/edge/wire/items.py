"""What was asked and answered, item by item, as OpenAI's Responses have it: each a message that holds nothing else. Jobs takes a turn
apart in the same way (`tollway.jobs.v1.Item`)."""

from collections.abc import Iterable, Iterator

from tollway.chat.v1 import chat_pb2 as chat

ASKED, SAID, CALL, THOUGHT, SEARCH, STEP = "in", "msg", "fc", "rs", "ws", "mcp"
"""Kinds: what was asked, whatever it is; a message of the model's, a function that it calls, what it thought, what it searched for, a
tool that was called for it."""


def item_id(kind: str, origin: str, place: int) -> str:
    """Of the item at `place` among those of its kind in `origin`, a UUID's digits: whoever names it again says where it is."""
    return f"{kind}_{origin}{place:04x}"


def single(messages: Iterable[chat.Message]) -> Iterator[chat.Message]:
    """Each item of what was asked: what an assistant said, and each of its calls."""
    for message in messages:
        if message.role != chat.ROLE_ASSISTANT:
            yield message
            continue
        if any(map(_says, message.parts)) or message.refusal or not message.tool_calls:
            said = chat.Message(role=chat.ROLE_ASSISTANT, parts=message.parts, citations=message.citations)
            if message.HasField("refusal"):
                said.refusal = message.refusal
            yield said
        for call in message.tool_calls:
            yield chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=[call])


def answered(said: chat.Message) -> Iterator[tuple[str, int, chat.Message]]:
    """Each item of an answer: its kind, its place among those of its kind, and what it holds."""
    role = chat.ROLE_ASSISTANT
    if said.reasoning or said.thoughts:
        yield THOUGHT, 0, chat.Message(role=role, reasoning=said.reasoning, thoughts=said.thoughts)
    for place, lookup in enumerate(said.lookups):
        yield SEARCH, place, chat.Message(role=role, lookups=[lookup])
    for place, step in enumerate(said.steps):
        yield STEP, place, chat.Message(role=role, steps=[step])
    calls = 0
    for one in single([said]):
        if one.tool_calls:
            yield CALL, calls, one
            calls += 1
        else:
            yield SAID, 0, one


def _says(part: chat.ContentPart) -> bool:
    return bool(part.text) or part.WhichOneof("part") != "text"
