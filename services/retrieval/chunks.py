"""Cuts a document into passages along its structure: headings, definitions, paragraphs, tables, sentences. Pure."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from services.retrieval.tokens import Measure

LARGEST = 220
"""Tokens of a passage: with its header, what every dense model reads whole."""
OVERLAP = 25
"""Tokens of the passage before that a passage begins with, where one paragraph was cut."""
LONGEST_NAME = 80
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$", re.M)
DEFINITION = re.compile(
    r"^(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([a-z]+\))?|unsafe|sealed|open|data)\s+)*"
    r"(?:def|class|func|fn|function|interface|struct|enum|impl|trait|type|module|namespace|object|record|fun|sub|package|CREATE)\b[^\n]*",
    re.M,
)
"""A line that begins a definition at the outermost level, in the languages that most code is in."""
BLOCK = re.compile(r"```.*?(?:```|\Z)|(?:^\|.*\|[ \t]*\n?)+|[^\n](?:[^\n]|\n(?!\s*\n|#{1,6}\s|```|\|))*", re.S | re.M)
FENCED = re.compile(r"^```.*?(?:^```|\Z)", re.S | re.M)
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


class Shape(StrEnum):
    """What a text's structure is made of."""

    PLAIN = "plain"
    MARKDOWN = "markdown"
    CODE = "code"


def chunks(
    text: str, title: str, shape: Shape = Shape.PLAIN, *, largest: int = LARGEST, apart: Container[int] = ()
) -> list[Chunk]:
    """Passages of at most `largest` tokens, in order; together they hold all that is not blank.

    Paragraphs are put together as long as they fit; one that begins at a place in `apart` begins a passage.
    """
    made: list[Chunk] = []
    measure = Measure(text)
    for header, start, end in _sections(text, title, shape):
        pending: tuple[int, int] | None = None
        for left, right in _blocks(measure, start, end, largest):
            if pending and left not in apart and measure.size(pending[0], right) <= largest:
                pending = (pending[0], right)
                continue
            if pending:
                made.append(_chunk(text, *pending, header))
            pending = (left, right)
        if pending:
            made.append(_chunk(text, *pending, header))
    return made


def paragraphs(text: str, shape: Shape) -> list[tuple[int, int]]:
    """(start, end) of each paragraph, table or piece of code, headings apart."""
    return [
        (one.start(), one.end())
        for _, start, end in _sections(text, "", shape)
        for one in BLOCK.finditer(text, start, end)
    ]


def _sections(text: str, title: str, shape: Shape) -> Iterator[tuple[str, int, int]]:
    """(header, start, end) of what stands under each heading, or belongs to each definition."""
    if shape is Shape.CODE:
        yield from _definitions(text, title)
        return
    found = _headings(text) if shape is Shape.MARKDOWN else []
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


def _headings(text: str) -> list["re.Match[str]"]:
    """Headings, but for lines of code that look like one."""
    code = [one.span() for one in FENCED.finditer(text)]
    return [one for one in HEADING.finditer(text) if not any(start <= one.start() < end for start, end in code)]


def _definitions(text: str, title: str) -> Iterator[tuple[str, int, int]]:
    last, header = 0, title
    for found in DEFINITION.finditer(text):
        start = _above(text, found.start(), last)
        if text[last:start].strip():
            yield header, last, start
        header = " > ".join(filter(None, [title, found.group().strip(" {:(")[:LONGEST_NAME]]))
        last = start
    if text[last:].strip():
        yield header, last, len(text)


def _above(text: str, start: int, least: int) -> int:
    """Where the comments and decorators just above a definition begin."""
    while start > least:
        line = text.rfind("\n", 0, start - 1) + 1
        if line < least or not text[line:start].lstrip().startswith(("@", "#", "//", "/*", "*", "--", '"')):
            break
        start = line
    return start


def _blocks(measure: Measure, start: int, end: int, largest: int) -> Iterator[tuple[int, int]]:
    """Paragraphs, tables and code; one that is too large is cut between sentences, or between words."""
    for block in BLOCK.finditer(measure.text, start, end):
        left, right = block.start(), block.end()
        if measure.size(left, right) <= largest:
            yield left, right
            continue
        yield from _cut(measure, left, right, largest)


def _cut(measure: Measure, left: int, right: int, largest: int) -> Iterator[tuple[int, int]]:
    text = measure.text
    begin, reached = left, left
    for sentence in SENTENCE.finditer(text, left, right):
        if measure.size(begin, sentence.end()) > largest and reached > begin:
            yield begin, reached
            overlapped = measure.back(reached, min(OVERLAP, largest // 4))
            begin = max(begin + 1, _word_start(text, overlapped, reached))
        reached = sentence.end()
        while measure.size(begin, reached) > largest:
            most = measure.reach(begin, largest)
            stop = text.rfind(" ", measure.reach(begin, largest // 2), most)
            stop = stop if stop > 0 else most
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
