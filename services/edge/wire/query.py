"""Numbers in a query."""

from collections.abc import Mapping

from services.edge.wire.errors import Refusal

MOST = 1000
LONGEST = 18
"""Digits: what is longer fits into no int64."""


def limit(asked: Mapping[str, str]) -> int:
    """How many rows are asked for: 100 without a word.

    Raises:
        Refusal: none, or more than may be.
    """
    made = number(asked, "limit", 100)
    if not 0 < made <= MOST:
        raise _bad("limit", f"1 to {MOST}")
    return made


def number(asked: Mapping[str, str], name: str, default: int) -> int:
    """
    Raises:
        Refusal: it is no whole number.
    """
    text = asked.get(name, str(default))
    if not text.isdecimal() or len(text) > LONGEST:
        raise _bad(name, f"1 to {MOST}" if name == "limit" else "a whole number")
    return int(text)


def _bad(name: str, allowed: str) -> Refusal:
    return Refusal(400, "invalid_value", f"invalid value for {name}: allowed is {allowed}", param=name)
