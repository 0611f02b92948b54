"""Cuts text where something whole ends: a sentence, a line, a list item, a block of code. Pure.

The pieces of a text join to exactly that text. A sentence does not end within a quotation, a number, an abbreviation
or a name's initial.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FENCES = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)\n?", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^\s*(#{1,6}\s+\S|<h[1-6]\b)|^\s*\S[^.!?\n]{0,78}:\s*$")
ENDS = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)|\n")
ABBREVIATIONS = re.compile(
    r"(?:\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Fig|Figs|Eq|Sec|Vol|vs|etc|e\.g|i\.e|cf|al|approx|ca|Inc|Ltd|Co|Jr|Sr"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|pp|ed|eds))\.$"
)
OPENING, CLOSING = "“«„", "”»"
QUOTES = CLOSING + "\"'"
LONGEST_QUOTATION = 600


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` stands at `start` of text number `passage`. Headings and code are whole."""

    passage: int
    start: int
    text: str
    tokens: int
    heading: bool = False
    code: bool = False


def sentences(passage: int, text: str, count: Callable[[str], int]) -> list[Sentence]:
    """`text` in pieces that join to it."""
    made: list[Sentence] = []
    at = 0
    for fence in FENCES.finditer(text):
        made += _prose(passage, text, at, fence.start(), count)
        made.append(Sentence(passage, fence.start(), fence.group(), max(1, count(fence.group())), code=True))
        at = fence.end()
    return made + _prose(passage, text, at, len(text), count)


def _prose(passage: int, text: str, start: int, end: int, count: Callable[[str], int]) -> list[Sentence]:
    made = []
    for a, b in _cuts(text, start, end):
        piece = text[a:b]
        made.append(Sentence(passage, a, piece, max(1, count(piece)), bool(HEADING.match(piece))))
    return made


def _cuts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    at, searched = start, start
    quotes = any(one in text for one in OPENING + '"')
    while (found := ENDS.search(text, searched, end)) is not None:
        stop = found.end()
        if found.group() != "\n" and (
            (found.group()[-1] in QUOTES and text[stop + 1 : stop + 2].islower())
            or _abbreviated(text, at, stop)
            or (quotes and _quoting(text, at, stop))
        ):
            searched = stop
            continue
        while stop < end and text[stop] in " \t\n":
            stop += 1
        yield at, stop
        at = searched = stop
    if at < end:
        yield at, end


def _abbreviated(text: str, at: int, stop: int) -> bool:
    return ABBREVIATIONS.search(text, max(at, stop - 8), stop) is not None


def _quoting(text: str, at: int, stop: int) -> bool:
    """Whether a quotation is open at `stop`."""
    said = text[at:stop]
    if len(said) > LONGEST_QUOTATION:
        return False
    curly = sum(said.count(one) for one in OPENING) - sum(said.count(one) for one in CLOSING)
    return curly > 0 or said.count('"') % 2 == 1
