"""Cuts a document into passages along its structure: headings, paragraphs, code, sentences. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

LARGEST = 1000
"""Characters of a passage, about 250 tokens: what MiniLM reads whole."""
OVERLAP = 120
"""Characters of the passage before that a passage begins with, where one paragraph was cut."""
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$", re.M)
BLOCK = re.compile(r"```.*?(?:```|\Z)|(?:^\|.*\|[ \t]*\n?)+|[^\n](?:[^\n]|\n(?!\s*\n|#{1,6}\s|```|\|))*", re.S | re.M)
SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"')\]]*(?=\s|$)|\n|\Z)", re.S)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `start` and `end` are code points of the document's text."""

    text: str
    start: int
    end: int
    header: str
    """Title and headings above it: they are searched with the passage, not shown with it."""

    @property
    def searched(self) -> str:
        return f"{self.header}\n{self.text}" if self.header else self.text

    @property
    def digest(self) -> str:
        """Equal for the same passage under the same headings: it is not encoded again."""
        return sha256(self.searched.encode("utf-8", "surrogatepass")).hexdigest()


def chunks(text: str, title: str, *, markdown: bool) -> list[Chunk]:
    """Passages of at most [LARGEST][] characters, in order; together they hold all that is not blank."""
    made: list[Chunk] = []
    for header, start, end in _sections(text, title, markdown=markdown):
        pending: tuple[int, int] | None = None
        for left, right in _blocks(text, start, end):
            if pending and right - pending[0] <= LARGEST:
                pending = (pending[0], right)
                continue
            if pending:
                made.append(_chunk(text, *pending, header))
            pending = (left, right)
        if pending:
            made.append(_chunk(text, *pending, header))
    return made


def _sections(text: str, title: str, *, markdown: bool) -> Iterator[tuple[str, int, int]]:
    """(header, start, end) of what stands under each heading."""
    found = list(HEADING.finditer(text)) if markdown else []
    above: list[tuple[int, str]] = []
    last, header = 0, title
    for heading in found:
        if text[last : heading.start()].strip():
            yield header, last, heading.start()
        level = len(heading.group(1))
        above = [one for one in above if one[0] < level] + [(level, heading.group(2))]
        header = " > ".join(filter(None, [title, *(name for _, name in above)]))
        last = heading.end()
    if text[last:].strip():
        yield header, last, len(text)


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs, tables and code; one that is too large is cut between sentences, or between words."""
    for block in BLOCK.finditer(text, start, end):
        left, right = block.start(), block.end()
        if right - left <= LARGEST:
            yield left, right
            continue
        yield from _cut(text, left, right)


def _cut(text: str, left: int, right: int) -> Iterator[tuple[int, int]]:
    begin, reached = left, left
    for sentence in SENTENCE.finditer(text, left, right):
        if sentence.end() - begin > LARGEST and reached > begin:
            yield begin, reached
            begin = max(begin + 1, _word_start(text, reached - OVERLAP, reached))
        reached = sentence.end()
        while reached - begin > LARGEST:
            stop = text.rfind(" ", begin + LARGEST // 2, begin + LARGEST)
            stop = stop if stop > 0 else begin + LARGEST
            yield begin, stop
            begin = stop
    if text[begin:right].strip():
        yield begin, right


def _word_start(text: str, at: int, most: int) -> int:
    space = text.find(" ", max(at, 0), most)
    return most if space < 0 else space + 1


def _chunk(text: str, start: int, end: int, header: str) -> Chunk:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Chunk(text[start:end], start, end, header)
