"""Words of a text and the cheap features that the name tagger sees of them."""

import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

SPLIT = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")
BUCKETS = 8192
"""Hashed prefixes, suffixes and whole words share one table."""
SHAPES = 512
LONGEST_SHAPE = 6


class Word(NamedTuple):
    text: str
    start: int
    end: int
    spaced: bool
    """Whether white space stands before it."""


def words(text: str) -> Iterator[Word]:
    """Splits `text` into words and single marks, with their places in it."""
    last = -1
    for found in SPLIT.finditer(text):
        start, end = found.span()
        yield Word(found.group(), start, end, start != last)
        last = end


def shape(word: str, spaced: bool) -> int:
    """Case and kind of the characters, runs cut short: `McDonald4` is `XxXx9`."""
    kinds: list[str] = []
    for char in word:
        kind = "X" if char.isupper() else "x" if char.isalpha() else "9" if char.isdigit() else char
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
    size = min(len(word), 5)
    return crc32(f"{''.join(kinds[:LONGEST_SHAPE])}|{size}|{spaced}".encode()) % SHAPES


def hashes(word: str) -> list[int]:
    """Buckets of the word, its first and last characters, its trigrams; in lower case."""
    low = f"^{word.lower()[:24]}$"
    parts = {low, f"p{low[:3]}", f"p{low[:4]}", f"s{low[-3:]}", f"s{low[-4:]}"}
    parts.update(low[n : n + 3] for n in range(len(low) - 2))
    return sorted(crc32(part.encode()) % BUCKETS for part in parts)
