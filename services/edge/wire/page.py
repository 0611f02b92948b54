"""A page of a list, as OpenAI's lists are."""

from collections.abc import Iterable
from typing import Any

import orjson


def listed(rows: Iterable[dict[str, Any]], token: str = "") -> bytes:
    """`token` asks for the page after this one; empty on the last."""
    return orjson.dumps({"object": "list", "data": list(rows), "next_page_token": token})
