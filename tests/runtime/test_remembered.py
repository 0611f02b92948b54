"""A book that stays small and learns on."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.remembered import LONGEST_WORD, Remembered, RememberedWords


@given(st.lists(st.integers(0, 20)), st.integers(1, 8))
def test_it_holds_the_latest_and_no_more_than_it_may(keys: list[int], most: int) -> None:
    kept = Remembered[int, str](most)
    for key in keys:
        assert kept.keep(key, str(key)) == str(key)
        assert kept[key] == str(key) and len(kept) <= most


def test_a_word_too_long_to_be_met_again_is_not_taken() -> None:
    kept, short = RememberedWords[int](8), "a" * LONGEST_WORD
    assert kept.keep(short, 1) == 1 and kept.keep(short + "a", 2) == 2
    assert kept == {short: 1}
