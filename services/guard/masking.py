"""Puts placeholders, or surrogates, in the place of private values, the same one for the same value. Pure."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.guard.finding import Found
from services.guard.surrogates import surrogate

PLACEHOLDER = re.compile(r"\[([A-Z][A-Z_]{1,30})_(\d{1,6})\]")
WORD = re.compile(r"\w")
SURROGATE = "~"
TRIES = 20
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
    rng: random.Random | None = None
    """Where it is given, values become surrogates of their own form instead of placeholders."""
    _texts: list[str] = field(default_factory=list)
    _by_value: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for placeholder, value in self.values.items():
            if PLACEHOLDER.fullmatch(placeholder) is None:
                self._by_value[SURROGATE, value] = placeholder
                continue
            kind, number = _parts(placeholder)
            self._by_value[kind, value] = placeholder
            self._counts[kind] = max(self._counts.get(kind, 0), number)

    def avoid(self, texts: Iterable[str]) -> None:
        """Learns which placeholders the texts already hold."""
        for text in texts:
            if self.rng is not None:
                self._texts.append(text)
            if "[" in text:
                self.taken.update(
                    found.group() for found in PLACEHOLDER.finditer(text) if found.group() not in self.values
                )

    def stand_in(self, kind: str, value: str, before: str = "", after: str = "") -> str:
        """What goes to the model in the place of `value`; `before` and `after` are the characters beside it."""
        made = self._surrogate(kind, value, self.rng) if self.rng is not None else None
        if made is None or _grown(before, made[:1]) or _grown(made[-1:], after):
            return self.placeholder(kind, value)
        self.order.append(f"{kind}~")
        return made

    def _surrogate(self, kind: str, value: str, rng: random.Random) -> str | None:
        if (known := self._by_value.get((SURROGATE, value))) is not None:
            return known
        private = {one.casefold() for one in self.values.values()}
        for _ in range(TRIES):
            made = surrogate(kind, value, rng)
            if made is None or made.casefold() in private:
                continue
            if made.casefold() in map(str.casefold, self.values) or any(made in text for text in self._texts):
                continue  # the caller's own words, or another's stand-in: it could not be told apart
            self._by_value[SURROGATE, value] = made
            self.values[made] = value
            return made
        return None

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

    def mask(self, text: str, found: Sequence[Found], *, plain: bool = False) -> str:
        """`text` with every span of `found` (by position, without overlaps) replaced; `plain` wants placeholders."""
        out, last = list[str](), 0
        starts = {one.start for one in found}
        for one in found:
            value = text[one.start : one.end]
            out.append(text[last : one.start])
            before = next((piece[-1] for piece in reversed(out) if piece), "")
            after = (
                "x" if one.end in starts else text[one.end : one.end + 1]
            )  # another stand-in may begin with a letter
            made = self.placeholder(one.type, value) if plain else self.stand_in(one.type, value, before, after)
            out.append(made)
            last = one.end
        out.append(text[last:])
        return "".join(out)

    def forget(self, names: Iterable[str], given: int) -> None:
        """Takes surrogates back, and all of the order after the first `given`."""
        for name in names:
            self._by_value.pop((SURROGATE, self.values.pop(name)), None)
        del self.order[given:]


def _grown(one: str, other: str) -> bool:
    """Whether two characters side by side make one word: a surrogate in it would not be found again."""
    return bool(WORD.fullmatch(one) and WORD.fullmatch(other))


def _parts(placeholder: str) -> tuple[str, int]:
    kind, _, number = placeholder[1:-1].rpartition("_")
    return kind, int(number)
