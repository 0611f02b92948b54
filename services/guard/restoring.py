"""Brings the asker's own values back into an answer that comes in pieces. Pure.

A placeholder may be split anywhere, written in other case, with escaped underscores or brackets; a surrogate in
other case. What is held back is never more than the beginning of something that could still become one.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence

from services.guard.finding import Found
from services.guard.masking import LONGEST, PLACEHOLDER, Masker

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
        self._surrogates = {
            self._write(name).casefold(): value for name, value in values.items() if not PLACEHOLDER.fullmatch(name)
        }
        self._longest = max(map(len, self._surrogates), default=0)
        self._pattern = WHOLE
        if self._surrogates:
            names = "|".join(map(_alone, sorted(self._surrogates, key=len, reverse=True)))
            self._pattern = re.compile(rf"{WHOLE.pattern}|((?i:{names}))")

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def given(self, text: str) -> list[tuple[int, int]]:
        """Where placeholders and surrogates stand in `text`: what stands there is not the model's own."""
        if not self._values:
            return []
        return [found.span() for found in self._pattern.finditer(text) if self._value(found) != found.group()]

    def feed(self, piece: str) -> str:
        if not self._values:
            return piece
        text = self._held + piece
        begun = BEGUN.search(text, max(0, len(text) - LONGEST))
        cut = begun.start() if begun is not None else len(text)
        if self._surrogates:
            cut = min(cut, self._open(text))
        self._held = text[cut:]
        return self._restored(text[:cut])

    def end(self) -> str:
        """What was still held back."""
        rest, self._held = self._restored(self._held), ""
        return rest

    def _open(self, text: str) -> int:
        """Where a surrogate may have begun, or has just ended and could still be part of a longer word."""
        whole = [found.span() for found in self._pattern.finditer(text) if found.group(5)]
        for n in range(max(len(text) - self._longest, 0), len(text)):
            if any(start < n < end for start, end in whole):
                continue  # what is within one is not the beginning of another
            begun = text[n:].casefold()
            if any(name.startswith(begun) for name in self._surrogates):
                return n
        return len(text)

    def _restored(self, text: str) -> str:
        return self._pattern.sub(self._value, text) if self._surrogates or "[" in text else text

    def _value(self, found: re.Match[str]) -> str:
        if self._surrogates and found.group(5):
            return self._write(self._surrogates[found.group(5).casefold()])
        kind, number = found.group(1) or found.group(3), found.group(2) or found.group(4)
        name = f"[{kind.replace(chr(92), '').upper()}_{int(number)}]"
        value = self._values.get(name)
        return found.group() if value is None else self._write(value)


def masked(masker: Masker, text: str, found: Sequence[Found]) -> str:
    """`text` masked so that what comes back is what went in.

    A surrogate may by chance stand where nobody put it, made up of one's end and the words beside it; then placeholders
    are used, which no text holds.
    """
    if masker.rng is None:
        return masker.mask(text, found)
    known, given = set(masker.values), len(masker.order)
    made = masker.mask(text, found)
    restorer = Restorer(masker.values)
    if restorer.feed(made) + restorer.end() == text:
        return made
    masker.forget(set(masker.values) - known, given)
    return masker.mask(text, found, plain=True)


def _alone(name: str) -> str:
    """A pattern for `name` that is no part of a longer word."""
    begins, ends = (r"(?<!\w)" if name[:1].isalnum() else ""), (r"(?!\w)" if name[-1:].isalnum() else "")
    return f"{begins}{re.escape(name)}{ends}"


def _escaped(value: str) -> str:
    """`value` as it stands within a JSON string."""
    return json.dumps(value, ensure_ascii=False)[1:-1]
