"""A book that stays small and learns on."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.remembered import Remembered


@given(st.lists(st.integers(0, 20)), st.integers(1, 8))
def test_it_holds_the_latest_and_no_more_than_it_may(keys: list[int], most: int) -> None:
    kept = Remembered[int, str](most)
    for key in keys:
        assert kept.keep(key, str(key)) == str(key)
        assert kept[key] == str(key) and len(kept) <= most
