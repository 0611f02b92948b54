"""Says in microseconds which candidates cannot be proven: most never meet the transformer.

A small network over six cheap facts about two texts; it was fitted to let pass what the verifier would serve. How it
was trained is told in `training/screen.py`.
"""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.cache.likeness import STOP
from services.cache.plain import MOST_TEXTS, marked, spoken

ARTEFACT = Path(__file__).parent / "artefacts" / "screen.json"
Vector = npt.NDArray[np.float32]
ABOUT = 0.01
MIXED = re.compile(r"[^\W\d_]\d|\d[^\W\d_]")
"""Where letters become digits, or digits letters."""


Facts = tuple[float, ...]


class Gist(NamedTuple):
    """What the screen looks at in a text."""

    content: frozenset[str]
    numbers: frozenset[str]
    codes: frozenset[str]
    """Of the numbers those that nobody says twice without meaning the same: orders, accounts, hashes."""


@lru_cache(maxsize=MOST_TEXTS)
def gist(text: str) -> Gist:
    content = frozenset(spoken(text)) - STOP
    numbers = frozenset(filter(numbered, content))
    return Gist(content, numbers, frozenset(filter(opaque, numbers)))


def numbered(word: str) -> bool:
    """Whether it is a number or an identifier."""
    return not word.isalpha() and marked(word)


def opaque(word: str) -> bool:
    """Whether a number or an identifier is one of many alike: five digits, or digits here and there among letters."""
    return sum(map(str.isdigit, word)) >= 5 or (len(word) >= 6 and len(MIXED.findall(word)) >= 2)


def renumbered(a: Gist, b: Gist) -> bool:
    """Whether each names a number or an identifier that the other does not, or one of them a code: order 4711 is not order 4712, nor
    is an order that is not named 4f9a-22."""
    return a.codes != b.codes or bool(a.numbers - b.numbers and b.numbers - a.numbers)


def facts(a: Gist, b: Gist, static: float) -> Facts:
    """Six facts; the order of `a` and `b` does not matter."""
    return counted(len(a.content & b.content), len(a.content), len(b.content), a.numbers == b.numbers, static)


def counted(shared: int, own: int, others: int, same_numbers: bool, static: float) -> Facts:
    """[facts][], of two texts of so many words that count."""
    fewer, more = own - shared, others - shared
    if fewer > more:
        fewer, more = more, fewer
    return (
        static,
        shared / (shared + fewer + more or 1),
        fewer / 12 if fewer < 12 else 1.0,
        more / 12 if more < 12 else 1.0,
        0.0 if same_numbers else 1.0,
        (shared + fewer) / 24 if shared + fewer < 24 else 1.0,
    )


class Screen:
    def __init__(self) -> None:
        said = json.loads(ARTEFACT.read_text())
        self._w, self._b = np.array(said["w"], np.float32), np.array(said["b"], np.float32)
        self._v, self._c = np.array(said["v"], np.float32), float(said["c"])
        self._least = float(said["least"])
        self._slack = ABOUT * float(np.abs(self._w[0]) @ np.abs(self._v))
        """By how much a judgement may be off where a cosine is off by [ABOUT][]."""

    def plausible(self, text: str, others: list[tuple[str, float]]) -> list[bool]:
        """For each other text with its static cosine, whether proof is worth its cost."""
        own = gist(text)
        fair = [n for n, (other, _) in enumerate(others) if not renumbered(own, gist(other))]
        judged = self._judged([facts(own, gist(others[n][0]), others[n][1]) for n in fair]) if fair else []
        passed = {n for n, word in zip(fair, judged, strict=True) if word >= self._least}
        return [n in passed for n in range(len(others))]

    def hopeful(self, found: Sequence[Facts]) -> bool:
        """Whether proof may be worth its cost for any that is not [renumbered][], where cosines are right to about [ABOUT][]."""
        return bool(found) and max(self._judged(found)) >= self._least - self._slack

    def _judged(self, found: Sequence[Facts]) -> list[float]:
        """The network's word on each."""
        logits = np.maximum(np.array(found, np.float32) @ self._w + self._b, 0) @ self._v + self._c
        return list(map(float, logits.tolist()))

    def barred(self, text: str, other: str) -> bool:
        """Whether nothing could prove that the two ask for the same."""
        return renumbered(gist(text), gist(other))
