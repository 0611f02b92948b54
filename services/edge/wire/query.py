"""Numbers in a query."""

from collections.abc import Mapping

from services.edge.wire.errors import Refusal

MOST = 1000
LONGEST = 18
"""Digits: what is longer fits into no int64."""


def limit(asked: Mapping[str, str], usual: int = 100, most: int = MOST) -> int:
    """How many rows are asked for: `usual` without a word.

    Raises:
        Refusal: none, or more than may be.
    """
    made = _whole(asked.get("limit", str(usual)))
    if made is None or not 0 < made <= most:
        raise _bad("limit", f"1 to {most}")
    return made


def number(asked: Mapping[str, str], name: str, default: int) -> int:
    """
    Raises:
        Refusal: it is no whole number.
    """
    if (made := _whole(asked.get(name, str(default)))) is None:
        raise _bad(name, "a whole number")
    return made


def _whole(text: str) -> int | None:
    """None for what is no whole number."""
    return int(text) if text.isdecimal() and len(text) <= LONGEST else None


def _bad(name: str, allowed: str) -> Refusal:
    return Refusal(400, "invalid_value", f"invalid value for {name}: allowed is {allowed}", param=name)
