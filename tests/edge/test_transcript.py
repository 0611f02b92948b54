"""Recordings as forms, and what was said in each shape that OpenAI has."""

import orjson
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire import transcript
from services.edge.wire.errors import Refusal

KIND = b"multipart/form-data; boundary=edge"


def form(*fields: tuple[str, str], file: str = "sound") -> bytes:
    parts = [
        *(f'name="{name}"\r\n\r\n{value}' for name, value in fields),
        f'name="file"; filename="a.mp3"\r\n\r\n{file}',
    ]
    return "".join(f"--edge\r\nContent-Disposition: form-data; {one}\r\n" for one in parts).encode() + b"--edge--\r\n"


def made(**said: object) -> pb.TranscribeResponse:
    usage = chat.Usage(input_tokens=30, output_tokens=9, kinds=chat.TokenKinds(audio_input_tokens=25))
    return pb.TranscribeResponse(transcript=models_pb2.Transcript(**said), usage=usage)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "segments", "words"),
    [
        ([], False, False),
        ([("response_format", "text")], False, False),
        ([("response_format", "srt")], True, False),
        ([("response_format", "verbose_json")], True, False),
        ([("response_format", "verbose_json"), ("timestamp_granularities[]", "word")], False, True),
    ],
)
def test_times_are_asked_for_where_they_are_shown(fields: list[tuple[str, str]], segments: bool, words: bool) -> None:
    asked = transcript.request(transcript.parsed(KIND, form(*fields))).recording
    assert (asked.segments, asked.words, asked.data, asked.filename) == (segments, words, b"sound", "a.mp3")


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("language", "x" * 17, "language"),
        ("temperature", "hot", "temperature"),
        ("temperature", "nan", "temperature"),
        ("response_format", "", "response_format"),
        ("beam_size", "5", "beam_size"),
    ],
)
def test_a_mistake_is_told_by_its_field(field: str, value: str, param: str) -> None:
    with pytest.raises(Refusal) as refused:
        transcript.parsed(KIND, form((field, value)))
    assert refused.value.param == param


def test_what_has_no_segments_is_one_subtitle() -> None:
    body, kind = transcript.answer("srt", made(text=" Nine crowns. ", duration_s=61.25))
    assert body == b"1\n00:00:00,000 --> 00:01:01,250\nNine crowns.\n\n" and kind.startswith(b"text/plain")
    assert transcript.answer("vtt", made()) == (b"WEBVTT\n\n", kind)


def test_tokens_are_told_where_they_are_billed() -> None:
    body, _ = transcript.answer("json", made(text="x", duration_s=3.0))
    used = orjson.loads(body)["usage"]
    assert (used["type"], used["total_tokens"], used["input_token_details"]) == (
        "tokens", 39, {"audio_tokens": 25, "text_tokens": 5}
    )  # fmt: skip
