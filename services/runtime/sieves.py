"""Tells in a microsecond that no pattern matches, before `re` takes ten for each."""

from collections.abc import Iterable

import re2

WIDER = {
    r"\w": r"[\pL\pM\pN_]",
    r"\d": r"\pN",
    r"\s": r"[\pZ\s\x0b\x1c-\x1f\x85]",
    r"\b": r"(?:^|$|[^0-9A-Za-z_])",
}
"""What stands for all that `re` takes for a letter, a digit, a space or the edge of a word, where RE2 knows ASCII alone. The last takes a
character along."""

MOST_BYTES = 64 << 20
"""For the states of one automaton: it would find nothing at all where a few of them have no room."""


def sieve(patterns: Iterable[str], *, ignores_case: bool = False) -> "re2.Set":
    """One automaton: `Match` of it gives something wherever one of `patterns`, in the syntax that `re` and RE2 share, matches, and now and
    then where none does. Classes of characters may not stand in brackets."""
    options = re2.Options()
    options.case_sensitive, options.max_mem = not ignores_case, MOST_BYTES
    made = re2.Set.SearchSet(options)
    for pattern in patterns:
        for said, wider in WIDER.items():
            pattern = pattern.replace(said, wider)
        made.Add(pattern)
    made.Compile()
    return made
