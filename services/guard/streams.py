"""Inspects an answer as it comes: masks what the model made up, restores what the asker gave. Pure.

Held back are at most [HOLD][] characters: the last word, or the last group of digits, which the next piece
may turn into something private, and what could be the beginning of a placeholder.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from services.guard.finding import Found
from services.guard.restoring import Restorer
from services.guard.rules import Action

HOLD = 200
"""With a placeholder's beginning never more than 256 characters."""
CONTEXT = 80
"""Shown text that recognisers still see before what is new."""
TAIL = re.compile(r"(?:[+(]?\d[\d .\-–/()]*|\S+)$")
KEY_BEGINS, KEY_ENDS = "-----BEGIN", re.compile(r"-----END[ A-Z0-9_\-]*-----")
SUMMARY = "[{}]"

Judge = Callable[[Sequence[Found]], list[tuple[Found, Action]]]


class Stream:
    """One text of the answer. `find` finds, `judge` says what to do with what was found."""

    def __init__(
        self,
        values: Mapping[str, str],
        find: Callable[[str], Sequence[Found]],
        judge: Judge,
        *,
        json_text: bool = False,
    ) -> None:
        self._restorer = Restorer(values, json_text=json_text)
        self._find, self._judge = find, judge
        self._shown, self._held = "", ""
        self._in_key = False
        self._found: list[tuple[Found, Action]] = []
        self.touched = False
        """Whether anything was found."""

    @property
    def held(self) -> int:
        return len(self._held) + self._restorer.held

    def taken(self) -> list[tuple[Found, Action]]:
        """What was found since it was last asked for: a long answer keeps no list of it."""
        found, self._found = self._found, []
        return found

    def feed(self, piece: str) -> str:
        text = self._held + piece
        tail = TAIL.search(text, max(0, len(text) - HOLD))
        cut = tail.start() if tail is not None else len(text)
        if (
            (key := text.rfind(KEY_BEGINS, 0, len(text))) >= 0
            and len(text) - key < HOLD
            and not KEY_ENDS.search(text, key)
        ):
            cut = min(cut, key)
        self._held = text[cut:]
        return self._restorer.feed(self._masked(text[:cut]))

    def end(self) -> str:
        text, self._held = self._held, ""
        return self.whole(text)

    def whole(self, text: str) -> str:
        """All of it at once: nothing is held back."""
        return self._restorer.feed(self._masked(text)) + self._restorer.end()

    def _masked(self, text: str) -> str:
        if self._in_key:
            if (over := KEY_ENDS.search(text)) is None:
                return ""
            self._in_key, text = False, text[over.end() :]
        if not text:
            return ""
        seen = len(self._shown)
        whole = self._shown + text
        given = self._restorer.given(whole)
        found = [
            one
            for one in self._find(whole)
            if one.end > seen and not any(one.start < end and start < one.end for start, end in given)
        ]
        out, last = [], 0
        for one, action in self._judge(found):
            start, end = max(one.start - seen, 0), one.end - seen
            if action >= Action.FLAG:
                self._found.append((one, action))
                self.touched = True
            if action is Action.MASK:
                out += [text[last:start], SUMMARY.format(one.type)]
                last = end
                self._in_key |= one.recognizer == "pem" and KEY_ENDS.search(text, start) is None
        shown = "".join([*out, text[last:]])
        self._shown = (self._shown + text)[-CONTEXT:]
        return shown
