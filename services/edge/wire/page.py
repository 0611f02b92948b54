"""Messages as JSON, and a page of a list, as OpenAI's lists are."""

from collections.abc import Iterable
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def listed(rows: Iterable[dict[str, Any]], token: str = "") -> bytes:
    """`token` asks for the page after this one; empty on the last."""
    return orjson.dumps({"object": "list", "data": list(rows), "next_page_token": token})


def plain(row: Message) -> dict[str, Any]:
    """Every field of a message by its contract's name, also where it is empty."""
    made: dict[str, Any] = MessageToDict(
        row, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return made
