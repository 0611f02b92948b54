"""What a request can be read as at most, and what of it is billed apart."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.orchestrator import bounds

PARTS = st.one_of(
    st.text(max_size=50).map(lambda text: chat.ContentPart(text=text)),
    st.just(chat.ContentPart(image=chat.Image(url="https://e.org/x.png"))),
    st.binary(max_size=4000).map(lambda data: chat.ContentPart(audio=chat.Audio(data=data, format="wav"))),
)


@given(st.lists(st.lists(PARTS, max_size=4), max_size=4), st.integers(1, 3))
def test_what_is_billed_apart_is_among_what_is_read(messages: list[list[chat.ContentPart]], calls: int) -> None:
    asked = chat.ChatRequest(messages=[chat.Message(parts=parts) for parts in messages])
    apart = bounds.over(calls, bounds.kinds(asked)) or chat.TokenKinds()
    assert apart.audio_input_tokens + apart.image_input_tokens <= calls * bounds.input_tokens(asked)
    kinds = [part.WhichOneof("part") for parts in messages for part in parts]
    assert apart.image_input_tokens == calls * bounds.PICTURE * kinds.count("image")
    assert bool(apart.audio_input_tokens) is ("audio" in kinds)


def test_what_searches_find_is_held_for() -> None:
    asked = chat.ChatRequest(messages=[chat.Message(parts=[chat.ContentPart(text="hi")])])
    read = bounds.input_tokens(asked)
    assert bounds.web_searches(asked) == 0
    asked.web_search.SetInParent()
    assert bounds.web_searches(asked) == 5 and bounds.input_tokens(asked) == read + 5 * bounds.WEB_SEARCH
    asked.web_search.most = 2
    assert bounds.web_searches(asked) == 2 and bounds.input_tokens(asked) == read + 2 * bounds.WEB_SEARCH


def plain(rate: int, data: bytes) -> bytes:
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 8000, rate, 2, 16, b"data", len(data)
    )
    return head + data


@pytest.mark.parametrize(
    ("recording", "most"),
    [
        (b"", 0),
        (b"x", 1),
        (bytes(750), 1),
        (bytes(7501), 11),
        (plain(16_000, bytes(32_000)), 3),
        (plain(16_000, bytes(31_956)), 2),
        (plain(0, bytes(7456)), 10),
        (plain(16_000, b"")[:30], 1),
    ],
)
def test_a_recording_is_no_longer_than_its_bytes_allow(recording: bytes, most: int) -> None:
    assert bounds.seconds(recording) == most
