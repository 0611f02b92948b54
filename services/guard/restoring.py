"""Brings the asker's own values back into an answer that comes in pieces. Pure.

A placeholder may be split anywhere, written in other case, with escaped underscores or brackets. What is held
back is never more than the beginning of something that could still become one.
"""

import json
import re
from collections.abc import Callable, Mapping

from services.guard.masking import LONGEST

_NAME = r"\s?([A-Za-z](?:[A-Za-z]|\\?_){1,40}?)\\?_(\d{1,6})\s?"
WHOLE = re.compile(rf"\\\[{_NAME}\\\]|\[{_NAME}\]")
"""Escaped on both sides or on neither: a backslash that happens to stand before a placeholder is the asker's own."""
BEGUN = re.compile(r"\\?\[\s?(?:[A-Za-z](?:[A-Za-z]|\\?_){0,40}(?:\\?_\d{0,6}\s?)?\\?|\\)?$|\\$")


class Restorer:
    """Give it pieces in order; it gives back what is safe to show."""

    def __init__(self, values: Mapping[str, str], *, json_text: bool = False) -> None:
        self._values = values
        self._write: Callable[[str], str] = _escaped if json_text else str
        self._held = ""

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def feed(self, piece: str) -> str:
        if not self._values:
            return piece
        text = self._held + piece
        begun = BEGUN.search(text, max(0, len(text) - LONGEST))
        cut = begun.start() if begun is not None else len(text)
        self._held = text[cut:]
        return self._restored(text[:cut])

    def end(self) -> str:
        """What was still held back."""
        rest, self._held = self._restored(self._held), ""
        return rest

    def _restored(self, text: str) -> str:
        return WHOLE.sub(self._value, text) if "[" in text else text

    def _value(self, found: re.Match[str]) -> str:
        kind, number = found.group(1) or found.group(3), found.group(2) or found.group(4)
        name = f"[{kind.replace(chr(92), '').upper()}_{int(number)}]"
        value = self._values.get(name)
        return found.group() if value is None else self._write(value)


def _escaped(value: str) -> str:
    """`value` as it stands within a JSON string."""
    return json.dumps(value, ensure_ascii=False)[1:-1]
