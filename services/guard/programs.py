"""Which lines of a text are a program's, and what of them is quoted or said beside it. Pure."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NEAR, FEWEST, SHARE = 5, 3, 0.6
"""A line is a program's where of the lines so far on either side at least so many, and such a share, bear its marks."""
LOOKED_AT = 400
"""Characters of a line: nobody writes longer ones, and they must not cost by the square of their length."""
NUMBER = r"(?:\s{0,8}\d{1,6}[\t→|:]\s?|[+\-](?=\s|\w))?"
"""A line's number or what a comparison puts before it, as tools show files."""
MARKS = re.compile(
    rf"""
    [\w\])"'`]\s(?:[+\-*/|&%]?=|:=)\s            # assigned, with room around: settings and logs have none
    | ==|!=|:=|=>|->|::|&&|\|\|
    | \b[^\W\d]\w*\(                             # called
    | [;{{(]\s*$
    | ^{NUMBER}\s*(?:
        @[A-Za-z_][\w.]*(?:\(|\s*$) | //|/\*|\*/|\#include\b|\#!/
        | (?:def|class|func|fn|struct|interface|package|import|from|return|const|let|var|impl|enum|typedef|namespace|public|private
            |protected|static|void|async|await|yield|raise|throw|export|type|use|mod|elif|else|try|except|catch|finally|lambda|assert)\b
        | (?:if|for|while|with|match|case|switch)\b.*[:{{(]\s*$
    )
    """,
    re.VERBOSE,
)
MEMBER = re.compile(rf"""^{NUMBER}\s*(?:"[^"]*"|'[^']*')\s*:\s""")
"""Of JSON and the like, which is data."""
NEUTRAL = re.compile(rf"^{NUMBER}[\s\W_]*(?:\#.*)?$")
"""Blank, brackets alone, or what is a comment in some languages and a heading in others."""
SAID = re.compile(
    rf"""
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*`
    | (?:^|(?<=[\s;{{}}(),]))(?://|\#|--\s|/\*).*$ | ^{NUMBER}\s*\*(?=\s|/).*$
    """,
    re.VERBOSE,
)
"""A quoted text or a comment within a line."""


class Place(NamedTuple):
    """Characters `start` to `end` of a line, as much of it as is looked at."""

    line: str
    start: int
    end: int

    @property
    def value(self) -> str:
        return self.line[self.start : self.end]

    @property
    def said(self) -> bool:
        """Whether it is quoted, or part of a comment."""
        return any(one.start() < self.start and self.end <= one.end() for one in SAID.finditer(self.line))


class Program:
    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._codes = _codes(self._lines)

    def place(self, start: int, end: int) -> Place | None:
        """Where it stands, if its line is a program's."""
        at = bisect_right(self._starts, start) - 1
        if not self._codes[at]:
            return None
        first = max(0, start - self._starts[at] - LOOKED_AT // 2)
        off = self._starts[at] + first
        return Place(self._lines[at][first : first + LOOKED_AT], start - off, end - off)


def _codes(lines: Sequence[str]) -> list[bool]:
    """Whether each line stands in a program."""
    told, coded = [0], [0]  # sums up to each line
    for mark in _marked(lines):
        told.append(told[-1] + (mark is not None))
        coded.append(coded[-1] + (mark is True))
    made = list[bool]()
    for n in range(len(lines)):
        first, last = max(0, n - NEAR), min(len(lines), n + NEAR + 1)
        count, of = coded[last] - coded[first], told[last] - told[first]
        made.append(count >= FEWEST and count >= SHARE * of)
    return made


def _marked(lines: Sequence[str]) -> Iterator[bool | None]:
    """Whether a line bears a program's marks; None of one that says nothing either way."""
    for line in lines:
        looked_at = line[:LOOKED_AT]
        if NEUTRAL.match(looked_at):
            yield None
        else:
            yield MEMBER.match(looked_at) is None and MARKS.search(looked_at) is not None
