"""Texts that come as ids of tokens."""

import lzma
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.wire.errors import Refusal
from services.edge.wire.request import embed_request
from services.edge.wire.token_ids import TABLE, vocabulary


def texts(said: Any) -> list[str]:
    asked, _ = embed_request(orjson.dumps({"model": "static", "input": said}))
    return list(asked.texts)


def ids(text: str) -> list[int]:
    """Each byte as the token that it is by itself: another way to cut the same text."""
    alone = {one: n for n, one in enumerate(vocabulary()[:256])}
    return [alone[bytes([byte])] for byte in text.encode()]


def test_the_table_is_the_published_one() -> None:
    packed = lzma.decompress(TABLE.read_bytes())
    assert sha256(packed).hexdigest() == "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
    assert len(vocabulary()) == 100_256


def test_ids_are_what_they_say() -> None:
    # As OpenAI's cookbook shows them.
    assert texts([83, 1609, 5963, 374, 2294, 0]) == ["tiktoken is great!"]
    assert texts([[83, 1609, 5963], [374, 2294, 0]]) == ["tiktoken", " is great!"]
    assert texts(["words", [83, 1609, 5963]]) == ["words", "tiktoken"]


@given(st.text(min_size=1, max_size=50))
def test_every_text_comes_through(text: str) -> None:
    assert texts(ids(text)) == [text] and texts([ids(text), text]) == [text, text]


def test_a_character_that_is_cut_is_replaced() -> None:
    first, *rest = ids("é")
    assert texts([[first], rest]) == ["\ufffd", "\ufffd"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([1, 100_257], "input[1]"),
        ([[1], [-1]], "input[1][0]"),
        ([1, "a"], "stand alone"),
        (["a"] * 2049, "2048"),
        ([[]], "input[0]"),
        ([1.5], "input"),
        ([], "input"),
    ],
)
def test_what_is_wrong_is_named(said: Any, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        texts(said)
    assert refused.value.status == 400 and words in refused.value.message and refused.value.param is not None
