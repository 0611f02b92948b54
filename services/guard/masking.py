"""Puts placeholders in the place of private values, the same one for the same value. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.guard.finding import Found

PLACEHOLDER = re.compile(r"\[([A-Z][A-Z_]{1,30})_(\d{1,6})\]")
LONGEST = 48
"""Characters a placeholder has at most, however a model wraps it."""


@dataclass(slots=True)
class Masker:
    """The placeholders of one conversation. `values` maps each to what it stands for."""

    values: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Placeholders that the texts hold already, of the caller's own making: never given out."""
    order: list[str] = field(default_factory=list)
    """Types and numbers in the order they came to stand in the text."""
    _by_value: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for placeholder, value in self.values.items():
            kind, number = _parts(placeholder)
            self._by_value[kind, value] = placeholder
            self._counts[kind] = max(self._counts.get(kind, 0), number)

    def avoid(self, texts: Iterable[str]) -> None:
        """Learns which placeholders the texts already hold."""
        for text in texts:
            if "[" in text:
                self.taken.update(
                    found.group() for found in PLACEHOLDER.finditer(text) if found.group() not in self.values
                )

    def placeholder(self, kind: str, value: str) -> str:
        known = self._by_value.get((kind, value))
        if known is None:
            number = self._counts.get(kind, 0) + 1
            while f"[{kind}_{number}]" in self.taken:
                number += 1
            known = f"[{kind}_{number}]"
            self._counts[kind] = number
            self._by_value[kind, value] = known
            self.values[known] = value
        self.order.append(known[1:-1])
        return known

    def mask(self, text: str, found: Sequence[Found]) -> str:
        """`text` with every span of `found` (by position, without overlaps) replaced."""
        out, last = [], 0
        for one in found:
            out.append(text[last : one.start])
            out.append(self.placeholder(one.type, text[one.start : one.end]))
            last = one.end
        out.append(text[last:])
        return "".join(out)


def _parts(placeholder: str) -> tuple[str, int]:
    kind, _, number = placeholder[1:-1].rpartition("_")
    return kind, int(number)
