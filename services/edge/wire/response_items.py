"""What a kept response was asked and said, item by item: shown, and found again by an item's id."""

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.edge.wire import response
from services.edge.wire.batch import listed, page
from services.edge.wire.errors import Refusal
from services.edge.wire.items import ASKED, answered, single

MOST, USUAL = 100, 20
ROLES = {chat.ROLE_USER: "user", chat.ROLE_SYSTEM: "system", chat.ROLE_DEVELOPER: "developer"}
ID = re.compile(r"(msg|fc|rs|ws|fs|mcp|in)_([0-9a-f]{32})([0-9a-f]{4})")
"""Of an item that was said, by its kind, or that was asked, `in`; the response; its place among those of its kind."""


def paged(messages: Iterable[chat.Message], name: str, asked: Mapping[str, str]) -> bytes:
    """A page of what response `name` was asked, the last item first unless `order` says otherwise.

    Raises:
        Refusal: an order, a limit or an item that there is not.
    """
    newest, limit, after = ordered(asked)
    found = [shown(one, response.item_id(ASKED, name, n)) for n, one in enumerate(single(messages))]
    if newest:
        found.reverse()
    ids = [one["id"] for one in found]
    if after and after not in ids:
        raise Refusal(400, "invalid_value", f"there is no item {after[:64]!r}", param="after")
    begin = ids.index(after) + 1 if after else 0
    end = begin + limit
    return listed(found[begin:end], more=end < len(found))


def ordered(asked: Mapping[str, str]) -> tuple[bool, int, str]:
    """Whether the newest comes first, how many are asked for, and the one that they come after.

    Raises:
        Refusal: an order or a limit that there is not.
    """
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Refusal(400, "invalid_value", "invalid value for order: allowed are asc, desc", param="order")
    limit, after = page(asked, MOST)
    return order == "desc", limit or USUAL, after


def response_of(item: str) -> str:
    """The response that an item's id names; '' when it names none."""
    found = ID.fullmatch(item)
    return f"{response.RESPONSE}{found[2]}" if found else ""


def message_of(item: str, asked: Iterable[chat.Message], said: chat.Message) -> chat.Message | None:
    """An item of the response that `item` names, as a message that holds nothing else; None when there is no such."""
    if (found := ID.fullmatch(item)) is None:
        return None
    kind, place = found[1], int(found[3], 16)
    if kind == response.FILES:  # it says nothing to a model
        return chat.Message(role=chat.ROLE_ASSISTANT)
    if kind == ASKED:
        return next(islice(single(asked), place, None), None)
    return next((one for of, at, one in answered(said) if (of, at) == (kind, place)), None)


def shown(message: chat.Message, name: str) -> dict[str, Any]:
    """One thing that was said, by whoever it was."""
    if message.role == chat.ROLE_TOOL:
        return {
            "id": name,
            "type": "function_call_output",
            "status": "completed",
            "call_id": message.tool_call_id,
            "output": _told(message),
        }
    if message.role == chat.ROLE_ASSISTANT:
        return response.item(name, message)
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
