"""Finds what is private in a text: patterns with proof, phone numbers, names, in every reading of it.

One automaton over all patterns says in a microsecond or two which of them can occur at all (RE2's `Set`); only
those run. RE2 matches in time linear in the text, so no input makes it hang.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from hashlib import blake2b
from typing import Any

import re2
from msgspec.structs import replace

from services.guard import doubts, patterns, secrets
from services.guard.finding import Found, resolved
from services.guard.names import Names
from services.guard.pattern import Pattern
from services.guard.phones import phones
from services.guard.validators import fails_to_raise
from services.guard.views import View, views

BEFORE, AFTER, JUST_BEFORE = 60, 20, 24
REACH, EDGE = 400, 200
"""Characters on either side of a change that names are looked for in again, and those at the ends that only tell what is around. The
tagger sees ten words on either side."""
MOST_KEPT, LONGEST_KEPT = 8192, 4096
SIX_DIGITS = re.compile(r"\d(?:\D{0,3}\d){5}")
VALIDATED_ONLY = frozenset({"DATE_TIME", "AGE", "URL", "US_BANK_ACCOUNT", "LICENSE_PLATE"})
"""Types too weak to be believed in a decoded block."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A pattern, and the words that must be near it, or may not stand before it."""

    pattern: Pattern
    regex: Callable[[], Any]
    """Compiled when it is first needed, two milliseconds: most patterns never are, and all would take a third of a second."""
    near: re.Pattern[str] | None
    far: re.Pattern[str] | None


@cache
def automata() -> tuple[Any, tuple[Compiled, ...]]:
    """The set that says which patterns can occur, and the patterns; compiled once, for all detectors."""
    options, every = re2.Options(), (*patterns.PATTERNS, *secrets.PATTERNS)
    options.max_mem = 256 << 20
    which = re2.Set.SearchSet(options)
    for one in every:
        which.Add(one.regex)
    which.Compile()
    return which, tuple(
        Compiled(
            one,
            cache(partial(re2.compile, one.regex, options)),
            re.compile(one.near, re.I) if one.near else None,
            re.compile(one.far, re.I) if one.far else None,
        )
        for one in every
    )


class Detector:
    def __init__(self, names: Names | None) -> None:
        self._names = names
        self._which, self._compiled = automata()
        self._kept: OrderedDict[tuple[bytes, frozenset[str]], tuple[Found, ...]] = OrderedDict()

    def find(
        self, text: str, check: Callable[[], None] = lambda: None, unwanted: frozenset[str] = frozenset()
    ) -> tuple[Found, ...]:
        """What is private in `text`, without overlaps, by position; types in `unwanted` are not looked for.

        `check` is called between readings.
        """
        if not text:
            return ()
        if len(text) > LONGEST_KEPT:
            return self._find(text, check, unwanted)
        digest = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), unwanted)
        if (kept := self._kept.get(digest)) is not None:
            self._kept.move_to_end(digest)
            return kept
        found = self._kept[digest] = self._find(text, check, unwanted)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    def _find(self, text: str, check: Callable[[], None], unwanted: frozenset[str]) -> tuple[Found, ...]:
        text = text.encode("utf-8", "replace").decode() if _lone(text) else text
        found: list[Found] = []
        for view in views(text):
            check()
            for one in self._read(view, unwanted):
                start, end = view.span(one.start, one.end)
                if end > start:
                    found.append(replace(one, start=start, end=end))
        return tuple(resolved([one for one in found if one.type not in unwanted]))

    def _read(self, view: View, unwanted: frozenset[str]) -> list[Found]:
        text = view.text
        found = [hit for index in self._which.Match(text) or () for hit in self._hits(index, text)]
        if SIX_DIGITS.search(text):
            found += phones(text)
        if view.whole is not None:
            proven = [one for one in found if one.type not in VALIDATED_ONLY]
            if not proven and self._names is not None and len(text) < 200:
                proven = [
                    one
                    for one in self._names.find(text)
                    if one.type == "PERSON" and one.end - one.start > 0.6 * len(text)
                ]
            return proven
        return found + doubts.believed(text, [one for one in self._named(view, unwanted) if one.type not in unwanted])

    def _named(self, view: View, unwanted: frozenset[str]) -> list[Found]:
        """Names in a reading; of one that was made of another those that could read otherwise there."""
        if self._names is None:
            return []
        if not view.changes:
            return self._names.find(view.text, unwanted)
        found, whole = list[Found](), len(view.text)
        for start, end in view.around(REACH):
            first, last = start and start + EDGE, end if end == whole else end - EDGE
            for one in self._names.find(view.text[start:end], unwanted):
                if start + one.end > first and start + one.start < last:
                    found.append(replace(one, start=start + one.start, end=start + one.end))
        return found

    def _hits(self, index: int, text: str) -> list[Found]:
        one, found = self._compiled[index], []
        pattern, near, far = one.pattern, one.near, one.far
        for match in one.regex().finditer(text):
            group = pattern.group
            if group and match.group(group) is None:
                group = next((n for n in range(1, len(match.groups()) + 1) if match.group(n) is not None), 0)
            start, end = match.span(group)
            value = match.group(group)
            if pattern.cut is not None:
                end = start + pattern.cut(value)
                value = text[start:end]
            if pattern.type == "SECRET" and group:
                trimmed = value.rstrip(".,;:)}]")
                value, end = trimmed, end - (len(value) - len(trimmed))
            if (
                near
                and not near.search(text[max(0, start - BEFORE) : start])
                and not near.search(text[end : end + AFTER])
            ):
                continue
            if far and far.search(text[max(0, start - JUST_BEFORE) : start]):
                continue
            if pattern.check is not None and not fails_to_raise(pattern.check, value):
                continue
            found.append(Found(pattern.type, start, end, pattern.score, pattern.name, pattern.reason))
        return found


def _lone(text: str) -> bool:
    """Whether a surrogate stands alone in it: RE2 wants UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
