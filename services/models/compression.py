"""Shortens text by leaving out whole sentences: query-aware, extractive, within a budget of tokens.

Which parts stay is decided by their worth (`worth.py`); what says again what is kept already does not stay. Code,
numbers, names and quotations are never cut, since only whole sentences go; a heading stays as long as something under
it does. What is kept stays in its order.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.models.counting import Counter
from services.models.sentences import Sentence, sentences
from services.models.worth import MARKS, worth

Vectors = npt.NDArray[np.float32]
Worths = npt.NDArray[np.float64]
Encode = Callable[[list[str]], Awaitable[Vectors | None]]
"""Vectors of unit length (n, d) for n texts; None when nobody can make them, and words alone decide."""
A_TOKEN = 0.15
"""How much less a longer sentence is worth: its tokens to this power."""
REPEATED = 0.97
"""Likeness from which a sentence with the same numbers and names says what another has said."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of characters that was left out of a text."""

    passage: int
    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Shortened:
    texts: list[str]
    tokens_before: int
    tokens_after: int
    cuts: list[Cut]
    dropped: int
    """Sentences."""


@dataclass(frozen=True, slots=True)
class Compressor:
    count: Counter
    encode: Encode

    async def passages(self, texts: list[str], query: str, budget: int) -> Shortened:
        """`texts` within `budget` tokens, keeping what bears on `query`."""
        parts = [one for n, text in enumerate(texts) for one in sentences(n, text, self.count.text)]
        before = sum(one.tokens for one in parts)
        if before <= budget:
            return Shortened(texts, before, before, [], 0)
        kept = await self.parts(parts, query, budget)
        made = [""] * len(texts)
        for one, stays in zip(parts, kept, strict=True):
            made[one.passage] += one.text if stays else ""
        after = sum(one.tokens for one, stays in zip(parts, kept, strict=True) if stays)
        return Shortened([text.strip() for text in made], before, after, cuts(parts, kept), kept.count(False))

    async def parts(self, parts: list[Sentence], query: str, budget: int, more: Worths | None = None) -> list[bool]:
        """Which of `parts` stay; `more` (n,) is added to what each is worth."""
        vectors = await self.encode([query, *(one.text for one in parts)])
        likeness = vectors[1:] @ vectors[0] if vectors is not None and query else None
        worths = worth(parts, query, likeness)
        return chosen(
            parts, worths if more is None else worths + more, None if vectors is None else vectors[1:], budget
        )


def chosen(parts: list[Sentence], worths: Worths, vectors: Vectors | None, budget: int) -> list[bool]:
    """Which parts stay: the worthiest first, each with the heading above it, while there is room."""
    above = _headings(parts)
    kept, left = [False] * len(parts), budget
    said = set[str]()
    alike = defaultdict[str, list[int]](list)
    weighed = worths / np.array([one.tokens for one in parts], np.float64) ** A_TOKEN
    for n in map(int, np.argsort(-weighed, kind="stable")):
        one = parts[n]
        if one.heading or not one.text.strip():
            continue
        heading = above[n]
        more = parts[heading].tokens if heading is not None and not kept[heading] else 0
        if one.tokens + more > left or (words := one.text.strip().lower()) in said:
            continue
        same = alike[_marks(one.text)]
        if vectors is not None and any(vectors[k] @ vectors[n] > REPEATED for k in same):
            continue
        same.append(n)
        kept[n], left = True, left - one.tokens - more
        said.add(words)
        if heading is not None:
            kept[heading] = True
    if not any(kept) and parts:
        kept[int(np.argmax(worths))] = True  # not one fits: the most telling one is better than nothing
    return kept


def _headings(parts: list[Sentence]) -> list[int | None]:
    """For each part the nearest heading above it in its text."""
    made: list[int | None] = []
    last: int | None = None
    for n, one in enumerate(parts):
        if n and parts[n - 1].passage != one.passage:
            last = None
        made.append(last)
        if one.heading:
            last = n
    return made


def _marks(text: str) -> str:
    """A text's numbers and names: those that differ in one of them do not say the same."""
    return " ".join(sorted(MARKS.findall(text)))


def cuts(parts: list[Sentence], kept: list[bool]) -> list[Cut]:
    """What was left out, neighbours joined."""
    made: list[Cut] = []
    for one, stays in zip(parts, kept, strict=True):
        if stays:
            continue
        end = one.start + len(one.text)
        if made and (made[-1].passage, made[-1].end) == (one.passage, one.start):
            made[-1] = Cut(one.passage, made[-1].start, end, made[-1].tokens + one.tokens)
        else:
            made.append(Cut(one.passage, one.start, end, one.tokens))
    return made
