"""A sieve lets through all that its patterns match."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cache.keys import PERSONAL, TIMELY, TIMELY_OR_PERSONAL
from services.guard.views import BASE64, DISGUISED, ENCODED, SUSPECT
from services.runtime.sieves import sieve

SIEVES = [(TIMELY, TIMELY_OR_PERSONAL), (PERSONAL, TIMELY_OR_PERSONAL), (SUSPECT, DISGUISED), (BASE64, ENCODED)]
AROUND = st.text(st.sampled_from("a9_é߀ſ٣ \u00a0\u2003\x1c\x85\n.-"), max_size=3)


@pytest.mark.parametrize(("pattern", "set_"), SIEVES)
def test_what_a_pattern_matches_comes_through(pattern: "re.Pattern[str]", set_: object) -> None:
    @given(st.from_regex(pattern), AROUND, AROUND)
    def comes_through(said: str, before: str, after: str) -> None:
        text = f"{before}{said}{after}".encode("utf-8", "replace").decode()
        assert set_.Match(text) or not pattern.search(text)  # type: ignore[attr-defined]

    comes_through()


def test_what_it_does_not_match_is_mostly_stopped() -> None:
    plain = "Which river flows through the old town of Lima, and how long is it?"
    assert not any(one.Match(plain) for _, one in SIEVES)


def test_case_counts_unless_it_is_said() -> None:
    assert sieve(("Toll",)).Match("Toll") and not sieve(("Toll",)).Match("toll")
    assert sieve(("Toll",), ignores_case=True).Match("tOLL")
