"""What a kept response was asked and said, item by item: shown, and found again by an item's id."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.edge.wire import response
from services.edge.wire.batch import listed, page
from services.edge.wire.errors import Refusal

MOST, USUAL = 100, 20
ROLES = {chat.ROLE_USER: "user", chat.ROLE_SYSTEM: "system", chat.ROLE_DEVELOPER: "developer"}
ID = re.compile(r"(msg|fc|rs|ws|fs|mcp|in)_([0-9a-f]{32})([0-9a-f]{4})")
"""Of an item that was said, by its kind, or that was asked, `in`; the response; its place among those of its kind."""


def paged(messages: Iterable[chat.Message], name: str, asked: Mapping[str, str]) -> bytes:
    """A page of what response `name` was asked, the last item first unless `order` says otherwise.

    Raises:
        Refusal: an order, a limit or an item that there is not.
    """
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Refusal(400, "invalid_value", "invalid value for order: allowed are asc, desc", param="order")
    limit, after = page(asked, MOST)
    found = [_item(one, response.item_id("in", name, n)) for n, one in enumerate(_single(messages))]
    if order == "desc":
        found.reverse()
    ids = [one["id"] for one in found]
    if after and after not in ids:
        raise Refusal(400, "invalid_value", f"there is no item {after[:64]!r}", param="after")
    begin = ids.index(after) + 1 if after else 0
    end = begin + (limit or USUAL)
    return listed(found[begin:end], more=end < len(found))


def response_of(item: str) -> str:
    """The response that an item's id names; '' when it names none."""
    found = ID.fullmatch(item)
    return f"{response.RESPONSE}{found[2]}" if found else ""


def message_of(item: str, asked: Iterable[chat.Message], said: chat.Message) -> chat.Message | None:
    """An item of the response that `item` names, as a message that holds nothing else; None when there is no such."""
    if (found := ID.fullmatch(item)) is None:
        return None
    place = int(found[3], 16)
    among: Sequence[chat.Message]
    match found[1]:
        case "in":
            among = list(_single(asked))
        case "fc":
            among = [one for one in _single([said]) if one.tool_calls]
        case "msg":
            among = [one for one in _single([said]) if not one.tool_calls]
        case "ws":
            among = [chat.Message(role=chat.ROLE_ASSISTANT, lookups=[one]) for one in said.lookups]
        case response.FILES:  # it says nothing to a model
            among = [chat.Message(role=chat.ROLE_ASSISTANT)]
        case "mcp":
            among = [chat.Message(role=chat.ROLE_ASSISTANT, steps=[one]) for one in said.steps]
        case _:
            among = [chat.Message(role=chat.ROLE_ASSISTANT, reasoning=said.reasoning)]
    return among[place] if place < len(among) else None


def _single(messages: Iterable[chat.Message]) -> Iterator[chat.Message]:
    """Each item as a message of its own: what an assistant said, and each of its calls."""
    for message in messages:
        if message.role != chat.ROLE_ASSISTANT:
            yield message
            continue
        if message.parts or message.refusal or not message.tool_calls:
            said = chat.Message(role=chat.ROLE_ASSISTANT, parts=message.parts)
            if message.HasField("refusal"):
                said.refusal = message.refusal
            yield said
        for call in message.tool_calls:
            yield chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=[call])


def _item(message: chat.Message, name: str) -> dict[str, Any]:
    if message.role == chat.ROLE_TOOL:
        return {
            "id": name,
            "type": "function_call_output",
            "status": "completed",
            "call_id": message.tool_call_id,
            "output": _told(message),
        }
    if message.role == chat.ROLE_ASSISTANT:
        (one,) = response.output(message, "completed", name)
        return {**one, "id": name}
    content = [_part(one) for one in message.parts]
    return {"id": name, "type": "message", "status": "completed", "role": ROLES[message.role], "content": content}


def _told(message: chat.Message) -> str | list[dict[str, Any]]:
    """What a tool gave: text where it is nothing else."""
    if all(part.WhichOneof("part") == "text" for part in message.parts):
        return "".join(part.text for part in message.parts)
    return [_part(one) for one in message.parts]


def _part(part: chat.ContentPart) -> dict[str, Any]:
    match part.WhichOneof("part"):
        case "image":
            return {"type": "input_image", "image_url": part.image.url, "detail": part.image.detail or "auto"}
        case "file":
            file = {"filename": part.file.filename, "file_data": part.file.data, "file_id": part.file.file_id}
            return {"type": "input_file", **{name: value for name, value in file.items() if value}}
        case _:
            return {"type": "input_text", "text": part.text}
