"""The words of a text, 8 bytes each: kept beside its vector, they say of most candidates that they cannot be proven, and nothing more is read
of those. Pure.

Words are known by their hash in this process; ten bits of it say what kind of word it is.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

from services.cache.likeness import STOP
from services.cache.plain import (
    LEAST_EXCHANGED,
    LEAST_SLIPPED,
    MOST_SLIPS,
    brief,
    carries,
    in_use,
    meant,
    spoken_of,
)
from services.cache.screen import Gist, Screen, numbered, opaque

Form = bytes
"""Of 8 bytes each: how many words count, those of them that count, codes and numbers first, and the plain form; b"" where it is not known."""

CARRIES, CONTENT, NUMBER, CODE, IN_USE, LETTERS = (1 << n for n in range(6))
LENGTH, LONGEST = 6, 15
"""Where the number of a word's characters begins, and the most that it says."""
NUMBERS, CONTENTS, MANY = 8, 16, 255
"""Where the number of numbers begins, and that of words that count, behind that of codes; the most that it says."""
HASH = (1 << 64) - (1 << 10)
MOST_WORDS = 128
"""Of a text whose form is kept."""
MOST_TEXTS = 2_000


@lru_cache(maxsize=MOST_TEXTS)  # a text that is looked up in vain is stored next
def form(text: str) -> Form:
    said = spoken_of(text)
    if len(said) > MOST_WORDS:
        return b""
    kind = _kind if brief(said) else _kind.__wrapped__
    words = [hash(word) & HASH | kind(word) for word in said]
    content = sorted({one for one in words if one & CONTENT}, key=lambda one: -(one & (CODE | NUMBER)))
    codes, numbers = (sum(one & kind > 0 for one in content) for kind in (CODE, NUMBER))
    plain = [] if meant(text) else [one for one in words if one & CARRIES]
    counts = codes | numbers << NUMBERS | len(content) << CONTENTS
    return struct.pack(f"{1 + len(content) + len(plain)}Q", counts, *content, *plain)


def read(form: Form) -> tuple[list[int], Gist[int]]:
    """The plain form, empty for none, and the gist, as `plain` and `screen` have them of the text."""
    counts, *words = memoryview(form).cast("Q").tolist()
    codes, numbers, content = counts & MANY, counts >> NUMBERS & MANY, counts >> CONTENTS
    return words[content:], Gist(frozenset(words[:content]), frozenset(words[:numbers]), frozenset(words[:codes]))


class Hopes:
    """Whether a look-up may find something; asked by stores that know forms, before they read an entry."""

    def __init__(self, screen: Screen, text: str) -> None:
        self._screen, self._text = screen, text
        self.dashed = False
        """There were candidates, and none of them could have been proven."""

    def __call__(self, near: Sequence[tuple[Form, float]]) -> bool:
        """Whether any of the candidates, each with about its static cosine, may be proven to ask for the same."""
        own = form(self._text)
        if not own or not all(one for one, _ in near):
            return True
        plain, gist = read(own)
        others = [(*read(one), cosine) for one, cosine in near]
        self.dashed = not (
            any(_about_alike(plain, one) for one, _, _ in others)
            or self._screen.hopeful(gist, [(one, cosine) for _, one, cosine in others])
        )
        return not self.dashed


@lru_cache(maxsize=50_000)
def _kind(word: str) -> int:
    made = (
        CARRIES * carries(word) | IN_USE * in_use(word) | LETTERS * word.isalpha() | min(len(word), LONGEST) << LENGTH
    )
    if word not in STOP:
        made |= CONTENT
        if numbered(word):
            made |= NUMBER | CODE * opaque(word)
    return made


def _about_alike(a: Sequence[int], b: Sequence[int]) -> bool:
    """As `plain.alike`, as far as it shows without the letters."""
    if len(a) != len(b) or not a:
        return False
    others = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    return len(others) <= MOST_SLIPS and all(_about_slip(x, y) for x, y in others)


def _about_slip(a: int, b: int) -> bool:
    """As `plain.slip`, likewise."""
    long, other = a >> LENGTH & LONGEST, b >> LENGTH & LONGEST
    if min(long, other) < LEAST_SLIPPED or abs(long - other) > 1 or not a & b & LETTERS:
        return False
    return bool((a ^ b) & IN_USE) or (not a & IN_USE and long == other >= LEAST_EXCHANGED)
