"""The words of a text, 8 bytes each: kept beside its vector, they say of most candidates that they cannot be proven, and nothing more is read
of those. Pure.

Words are known by their hash in this process; ten bits of it say what kind of word it is.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from services.cache.likeness import STOP
from services.cache.plain import (
    LEAST_EXCHANGED,
    LEAST_SLIPPED,
    MOST_SLIPS,
    carries,
    in_use,
    meant,
    spoken_of,
)
from services.cache.screen import Facts, Screen, counted, numbered, opaque
from services.runtime.remembered import RememberedWords

Form = bytes
"""Of 8 bytes each: how many words count, those of them that count, codes first and then numbers, each in their order, and the plain form;
b"" where it is not known."""

CARRIES, CONTENT, NUMBER, CODE, IN_USE, LETTERS = (1 << n for n in range(6))
LENGTH, LONGEST = 6, 15
"""Where the number of a word's characters begins, and the most that it says."""
WIDTH = 8
CODES, NUMBERS, CONTENTS = 0, 1, 2
"""Which bytes of the first eight say how many codes there are, how many codes and numbers, and how many words that count."""
HASH = (1 << 64) - (1 << 10)
MOST_WORDS = 128
"""Of a text whose form is kept."""
MOST_TEXTS = 2_000


@lru_cache(maxsize=MOST_TEXTS)  # a text that is looked up in vain is stored next
def form(text: str) -> Form:
    said = spoken_of(text)
    if len(said) > MOST_WORDS:
        return b""
    words = [_kinds.get(word) or _learnt(word) for word in said]
    content = {one for one in words if one & CONTENT}
    numbers = {one for one in content if one & NUMBER}
    codes = {one for one in numbers if one & CODE}
    plain = [] if meant(text) else [one for one in words if one & CARRIES]
    ordered = (*sorted(codes), *sorted(numbers - codes), *(content - numbers), *plain)
    counts = bytes((len(codes), len(numbers), len(content), 0, 0, 0, 0, 0))
    return counts + struct.pack(f"{len(ordered)}Q", *ordered)


KNOWN = 1 << 63
"""Set in the mark of a text that names numbers."""
NONE_NAMED = KNOWN - 1
"""The mark of a text without numbers: it may ask for what one with any number asks for, unless that is a code."""
ANY = KNOWN | NONE_NAMED
"""The mark of a text whose form is not known: it may ask for anything."""
BITS = 62
MOST_SOUGHT = 4
"""Numbers in a text up to which others are sought by them."""


def mark(form: Form) -> int:
    """64 bits that say which numbers a text may name, two bits a number, as a Bloom filter does."""
    if not form:
        return ANY
    numbers = read(form).numbers
    return KNOWN | _bits(_words(numbers)) if numbers else NONE_NAMED


def sought(form: Form) -> tuple[int, ...]:
    """Masks, of which the mark of any text holds one whole that is not [renumbered][] beside this one; () where that tells none apart.

    Of a text with codes others name all of them; else of two that both name numbers one names all that the other does.
    """
    if not form:
        return ()
    said = read(form)
    if said.codes:
        return (KNOWN | _bits(_words(said.codes)),)
    numbers = _words(said.numbers)
    return tuple(_bits([one]) for one in numbers) if len(numbers) <= MOST_SOUGHT else ()


def _bits(words: list[int]) -> int:
    made = 0
    for word in words:
        # Two bits always: one alone would stand for one number in thirty.
        first, apart = (word >> 10) % BITS, 1 + (word >> 26) % (BITS - 1)
        made |= 1 << first | 1 << (first + apart) % BITS
    return made


class Read(NamedTuple):
    """What a form says, still packed: of 8 bytes a word. Equal bytes are equal words."""

    codes: bytes
    numbers: bytes
    """With the codes."""
    content: bytes
    """With the numbers."""
    plain: bytes
    """In the order of the text; empty for none."""


def read(form: Form) -> Read:
    codes, numbers, content = WIDTH + WIDTH * form[CODES], WIDTH + WIDTH * form[NUMBERS], WIDTH + WIDTH * form[CONTENTS]
    return Read(form[WIDTH:codes], form[WIDTH:numbers], form[WIDTH:content], form[content:])


class Hopes:
    """Whether a look-up may find something; asked by stores that know forms, before they read an entry."""

    def __init__(self, screen: Screen, text: str) -> None:
        self._screen, self._form = screen, form(text)
        self.sought: Sequence[int] = sought(self._form)
        self.dashed = False
        """There were candidates, and none of them could have been proven."""

    def __call__(self, near: Sequence[tuple[Form, float]]) -> bool:
        """Whether any of the candidates, each with about its static cosine, may be proven to ask for the same."""
        own = self._form
        if not own or not all(one for one, _ in near):
            return True
        said = read(own)
        others, plain = [(read(one), cosine) for one, cosine in near], _words(said.plain)
        self.dashed = not (any(_about_alike(plain, one.plain) for one, _ in others) or self._plausible(said, others))
        return not self.dashed

    def _plausible(self, own: Read, others: Sequence[tuple[Read, float]]) -> bool:
        """Whether the screen may let one of them pass."""
        words = frozenset(_words(own.content))
        return self._screen.hopeful(
            [facts(own, words, one, cosine) for one, cosine in others if not renumbered(own, one)]
        )


_kinds = RememberedWords[int](50_000)
"""What stands for each word."""


def _learnt(word: str) -> int:
    return _kinds.keep(word, hash(word) & HASH | _kind(word))


def _kind(word: str) -> int:
    made = (
        CARRIES * carries(word) | IN_USE * in_use(word) | LETTERS * word.isalpha() | min(len(word), LONGEST) << LENGTH
    )
    if word not in STOP:
        made |= CONTENT
        if numbered(word):
            made |= NUMBER | CODE * opaque(word)
    return made


def _words(packed: bytes) -> list[int]:
    return memoryview(packed).cast("Q").tolist()


def facts(own: Read, words: frozenset[int], other: Read, static: float) -> Facts:
    """As `screen.facts`; `words` are those of `own` that count."""
    shared = len(words.intersection(_words(other.content)))
    return counted(shared, len(words), len(other.content) // WIDTH, own.numbers == other.numbers, static)


def renumbered(a: Read, b: Read) -> bool:
    """As `screen.renumbered`, which need not be asked of most."""
    if a.codes != b.codes:
        return True
    if a.numbers == b.numbers or not (a.numbers and b.numbers):
        return False
    if len(a.numbers) == len(b.numbers):  # as many, and not the same: each has one of its own
        return True
    own, other = set(_words(a.numbers)), set(_words(b.numbers))
    return not (own <= other or other <= own)


def _about_alike(own: list[int], other: bytes) -> bool:
    """As `plain.alike`, as far as it shows without the letters."""
    if len(other) != WIDTH * len(own) or not own:
        return False
    slips = 0
    for x, y in zip(own, _words(other), strict=True):
        if x != y:
            slips += 1
            if slips > MOST_SLIPS or not _about_slip(x, y):
                return False
    return True


def _about_slip(a: int, b: int) -> bool:
    """As `plain.slip`, likewise."""
    long, other = a >> LENGTH & LONGEST, b >> LENGTH & LONGEST
    if min(long, other) < LEAST_SLIPPED or abs(long - other) > 1 or not a & b & LETTERS:
        return False
    return bool((a ^ b) & IN_USE) or (not a & IN_USE and long == other >= LEAST_EXCHANGED)
