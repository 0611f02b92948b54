"""How far an answer is what was expected: pure, from 0 to 1."""

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


def exact(answer: str, expected: str, *, ignore_case: bool = False) -> float:
    return float(_folded(answer, ignore_case).strip() == _folded(expected, ignore_case).strip())


def contains(answer: str, expected: str, *, ignore_case: bool = False) -> float:
    return float(_folded(expected, ignore_case).strip() in _folded(answer, ignore_case))


def numeric(answer: str, expected: str, tolerance: float = 0.0) -> float:
    """Whether the last number of `answer` is the last one of `expected`, within `tolerance` of it."""
    said, meant = _last_number(answer), _last_number(expected)
    if said is None or meant is None:
        return 0.0
    return float(abs(said - meant) <= abs(meant) * Decimal(repr(tolerance)))


def fields(answer: str, expected: str, *, ignore_case: bool = False) -> float:
    """The share of the expected JSON's leaves that the answer's JSON has alike. It may stand in a fence or amid words."""
    meant, said = _json(expected), _json(answer)
    if meant is None or said is None:
        return 0.0
    leaves = list(_leaves(meant, ()))
    return sum(_alike(_at(said, path), value, ignore_case) for path, value in leaves) / len(leaves)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors; 0 where it is below."""
    lengths = math.hypot(*one) * math.hypot(*other)
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return min(max(product / lengths, 0.0), 1.0) if lengths else 0.0


def has_number(text: str) -> bool:
    return _last_number(text) is not None


def has_json(text: str) -> bool:
    return _json(text) is not None


def _folded(text: str, ignore_case: bool) -> str:
    return text.casefold() if ignore_case else text


def _last_number(text: str) -> Decimal | None:
    found = NUMBER.findall(text)
    try:
        return Decimal(found[-1].replace(",", "")) if found else None
    except InvalidOperation:
        return None


def _json(text: str) -> Any:
    """The JSON that stands in `text`; None where there is none."""
    fenced = FENCE.search(text)
    for part in (text, fenced.group(1) if fenced else "", text[text.find("{") : text.rfind("}") + 1]):
        try:
            return json.loads(part)
        except ValueError:
            continue
    return None


def _leaves(value: Any, path: tuple[Any, ...]) -> Any:
    """Each value with the way to it; an object or a list with nothing in it is one, too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [leaf for key, one in inner for leaf in _leaves(one, (*path, key))]
    return below or [(path, value)]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return value


_NOTHING = object()


def _alike(said: Any, meant: Any, ignore_case: bool) -> bool:
    if isinstance(said, bool) or isinstance(meant, bool):
        return said is meant
    if isinstance(said, str) and isinstance(meant, str):
        return _folded(said, ignore_case) == _folded(meant, ignore_case)
    return bool(said == meant)
