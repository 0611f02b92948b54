"""How many tokens a text is for BERT, near enough and without its tokenizer: on English prose, Markdown and code 0 to 20 % too many. Pure."""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

_SINGLE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
PIECE = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}])[^\W\d_]){{1,6}}|\d{{1,3}}|[^\w\s]|_")
"""Six letters of a word, three digits, a sign, or a character of a script that is written without spaces."""


@dataclass(slots=True)
class Measure:
    """Counts tokens between places of one text."""

    text: str
    _ends: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._ends = [piece.end() for piece in PIECE.finditer(self.text)]

    def size(self, start: int, end: int) -> int:
        return bisect_right(self._ends, end) - bisect_right(self._ends, start)

    def reach(self, start: int, tokens: int) -> int:
        """The place that many tokens after `start`, or the end of the text."""
        n = bisect_right(self._ends, start) + tokens
        return self._ends[n - 1] if n <= len(self._ends) else len(self.text)

    def back(self, end: int, tokens: int) -> int:
        """The place that many tokens before `end`, or the text's beginning."""
        n = bisect_left(self._ends, end) - tokens
        return self._ends[n] if n >= 0 else 0


def count(text: str) -> int:
    return sum(1 for _ in PIECE.finditer(text))
