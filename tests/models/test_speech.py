"""Providers that speak: what they are asked, what of their answers is taken, and what is billed."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tollway.models.v1 import models_pb2

from services.models import faults
from services.models.catalogue import Catalogue, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.adapter import Voiced
from services.models.wires.every import wires_over
from services.runtime.http import session
from services.runtime.secrets import Secrets
from tests.models.upstream import SECRET, Upstream, counter

SOUND = bytes(range(256)) * 3
TEXT = "The toll is nine crowns."
OPTIONS = models_pb2.SpeechOptions(voice="nova", format="opus", speed=0.5, instructions="Like a ferryman.")
USAGE = {"input_tokens": 9, "output_tokens": 60, "total_tokens": 69}


def events(*said: dict[str, Any]) -> bytes:
    return b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in said)


def delta(sound: bytes) -> dict[str, Any]:
    return {"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()}


DONE = {"type": "speech.audio.done", "usage": USAGE}


@pytest.fixture
async def ranking(upstream: Upstream) -> AsyncIterator[Ranking]:
    entries = {
        "file": Entry("tts-1", base_url=upstream.url, key=SECRET, character_tokens=2),
        "events": Entry("gpt-4o-mini-tts", base_url=upstream.url, character_tokens=2, speech_events=True),
        "chat": Entry("chat", base_url=upstream.url),
        "claude": Entry("claude", provider="anthropic", base_url=upstream.url, character_tokens=2),
    }
    async with session() as http:
        yield Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))


async def spoken(ranking: Ranking, name: str, options: models_pb2.SpeechOptions = OPTIONS) -> list[Voiced]:
    return [piece async for piece in ranking.speak(name, TEXT, options, Asker())]


async def test_a_file_as_it_comes_is_billed_by_its_characters(ranking: Ranking, upstream: Upstream) -> None:
    upstream.answer, upstream.headers = SOUND, {"content-type": "audio/ogg; codecs=opus"}
    *pieces, last = await spoken(ranking, "file")
    assert b"".join(one.audio for one in pieces) == SOUND and not last.audio
    assert [one.content_type for one in pieces] == ["audio/ogg", *[""] * (len(pieces) - 1)]
    assert (
        last.usage is not None
        and last.usage.estimated
        and last.usage.input_tokens == counter().text(TEXT) + counter().text(OPTIONS.instructions)
    )
    assert last.usage.output_tokens == last.usage.kinds.audio_output_tokens == 2 * len(TEXT)
    (got,) = upstream.got
    assert got["path"] == "/audio/speech" and got["headers"]["authorization"] == f"Bearer {SECRET}"
    assert got["body"] == {
        "model": "tts-1", "input": TEXT, "voice": "nova", "response_format": "opus", "speed": 0.5,
        "instructions": "Like a ferryman.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wanted", "kind"),
    [("application/octet-stream", "flac", "audio/flac"), ("binary/octet-stream", "", "audio/mpeg")],
)
async def test_sound_that_is_not_named_is_what_was_asked_for(
    ranking: Ranking, upstream: Upstream, said: str, wanted: str, kind: str
) -> None:
    upstream.answer, upstream.headers = SOUND, {"content-type": said}
    pieces = await spoken(ranking, "file", models_pb2.SpeechOptions(format=wanted))
    assert pieces[0].content_type == kind
    assert upstream.got[0]["body"].keys() == {"model", "input", *(["response_format"] if wanted else [])}


async def test_events_tell_what_is_billed(ranking: Ranking, upstream: Upstream) -> None:
    upstream.answer = events(delta(b"so"), {"type": "speech.audio.mood", "mood": "wry"}, delta(b"und"), DONE)
    first, second, last = await spoken(ranking, "events")
    assert (first.audio, second.audio, first.content_type, second.content_type) == (b"so", b"und", "audio/ogg", "")
    assert last.usage is not None and not last.usage.estimated
    assert (last.usage.input_tokens, last.usage.output_tokens, last.usage.kinds.audio_output_tokens) == (9, 60, 60)
    assert upstream.got[0]["body"]["stream_format"] == "sse"


@pytest.mark.parametrize(
    ("name", "answer", "kind"),
    [
        ("file", b"", "audio/mpeg"),
        ("file", b"<html>", "text/html"),
        ("file", {"error": "none today"}, "application/json"),
        ("events", events(DONE), "text/event-stream"),
        ("events", events(delta(b"so")), "text/event-stream"),
        ("events", events({"type": "speech.audio.delta", "audio": "no base64!"}, DONE), "text/event-stream"),
        ("events", events({"type": "error", "error": {"message": "no"}}, delta(b"so"), DONE), "text/event-stream"),
        ("events", events(delta(b"so"), {"type": "speech.audio.done"}), "text/event-stream"),
        ("events", b"data: {\n\n", "text/event-stream"),
    ],
)
async def test_an_answer_of_another_shape_is_none(
    ranking: Ranking, upstream: Upstream, name: str, answer: Any, kind: str
) -> None:
    upstream.answer, upstream.headers = answer, {"content-type": kind} if isinstance(answer, bytes) else {}
    with pytest.raises(faults.ProviderBroke):
        await spoken(ranking, name)


async def test_what_has_been_heard_is_not_begun_again(ranking: Ranking, upstream: Upstream) -> None:
    upstream.answer = events(delta(b"so"))
    with pytest.raises(faults.ProviderBroke):
        await spoken(ranking, "events")
    assert len(upstream.got) == 1
    upstream.answer = events(DONE)
    with pytest.raises(faults.ProviderBroke):
        await spoken(ranking, "events")
    assert len(upstream.got) > 2, "of one that has said nothing it is tried again"


@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_who_does_not_speak_is_not_asked(ranking: Ranking, upstream: Upstream, name: str) -> None:
    with pytest.raises(faults.Unsupported, match="cannot speak"):
        await spoken(ranking, name)
    assert not upstream.got
