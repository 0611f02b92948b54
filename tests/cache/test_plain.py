"""Plain forms: what may be said otherwise, and what never may."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.near_misses import KINDS, pairs
from services.cache import plain as plain_module
from services.cache.plain import alike, plain, slip, synonyms


@pytest.mark.parametrize(
    "other",
    [
        "how do i reset the password of my router", "Hi! How can I reset the password of my router?", "How to reset the password of my router",
        "Please tell me: how do I reset the password of my router?", "How do I reset the pasword of my router??",
        "How do I reset the password of my router? Thanks in advance!", "How could we reset the password of my router",
        "Hey, how do I reset the password of my rotuer?",
    ],
)  # fmt: skip
def test_manners_case_contractions_and_slips_do_not_count(other: str) -> None:
    assert alike(plain("How do I reset the password of my router?"), plain(other))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What's the capital of Peru?", "What is the capital of Peru?"), ("Why do cats purr?", "What is the reason that cats purr?"),
        ("Can you help me with this? Is tea healthy?", "Is tea healthy?"), ("I can't log in", "I cannot log in"),
        ("List three ideas", "list 3 ideas."), ("It costs 1,000 euros?", "It costs 1000 euros?"),
    ],
)  # fmt: skip
def test_ways_to_ask_alike(a: str, b: str) -> None:
    assert alike(plain(a), plain(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Send it from Oslo to Bergen", "Send it from Bergen to Oslo"), ("Is it safe?", "Is it not safe?"), ("Was it safe?", "Is it safe?"),
        ("Is tea healthy?", "Is the healthy?"), ("Fill in the form", "Fill in the from"), ("Order 4711", "Order 4712"),
        ("What is 5-3?", "What is 5 3?"), ("Learn C", "Learn C++"), ("Is 3.5 enough?", "Is 35 enough?"), ("", ""), ("hi", "thanks"),
        ("print('A')\nprint('b')", "print('a')\nprint('B')"),
    ],
)  # fmt: skip
def test_what_is_never_alike(a: str, b: str) -> None:
    assert not alike(plain(a), plain(b))


def test_no_near_miss_has_the_plain_form_of_its_pair() -> None:
    assert len(KINDS) == 12 and len(pairs()) >= 500
    assert [one for one in pairs() if alike(plain(one["a"]), plain(one["b"]))] == []


def test_a_slip_is_one_of_a_word_in_use() -> None:
    assert slip("recieve", "receive") and slip("password", "pasword") and slip("peolpe", "people")
    assert (
        not slip("form", "from")
        and not slip("causal", "casual")
        and not slip("Anna", "Anne")
        and not slip("4711", "4712")
    )


def test_synonyms_by_their_stems() -> None:
    assert synonyms("uses", "employed") and synonyms("big", "large") and not synonyms("big", "small")


@given(text=st.text(max_size=300))
def test_any_text_has_a_plain_form_and_is_like_itself(text: str) -> None:
    found = plain(text)
    assert alike(found, plain(text)) == bool(found)


def test_long_words_are_not_remembered_one_by_one() -> None:
    before = len(plain_module._said), plain_module._carries.cache_info().currsize
    said = " ".join(chr(97 + n) * 500 for n in range(5))
    assert plain(said) == tuple(said.split())
    assert (len(plain_module._said), plain_module._carries.cache_info().currsize) == before


@given(st.from_regex(plain_module.MANNERS, fullmatch=True), st.sampled_from(["what is tidal power", "so, €"]))
def test_manners_at_the_end_are_known_by_their_last_word(said: str, question: str) -> None:
    """Where no such word stands, nobody looks for them."""
    text = unicodedata.normalize("NFKC", f"{question} {said}").lower().strip(" ,.!?:;-–—\n\t")
    ends = [one for one in plain_module.MANNERS.finditer(text, max(0, len(text) - 60)) if one.end() == len(text)]
    assert not ends or plain_module._last(text) == ends[-1].span()
