"""Speech written down through the whole mesh, as OpenAI's SDK asks for it."""

import io
import math
import wave
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, BadRequestError

from tests.mesh.client import sent
from tests.mesh.running import Mesh
from tests.support.waiting import eventually

TEXT = "The toll is nine crowns. Pay it."


def recording(seconds: float = 2.0) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(int(16_000 * seconds)))
    return made.getvalue()


async def test_the_sdk_is_told_what_was_said(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.audio.transcriptions.create(
        model="scribe", file=("toll.wav", recording()), language="en", prompt="mules, ivan@example.com", temperature=0.2
    )
    assert made.text == TEXT and made.usage is not None
    assert made.usage.type == "duration" and made.usage.seconds == 7
    got = mesh.provider.asked("scribe")[-1]
    assert got["file"] == ("toll.wav", recording().decode("latin-1")) and got["response_format"] == "json"
    assert (got["language"], got["temperature"]) == ("en", "0.2")
    assert got["prompt"].startswith("mules") and "example.com" not in got["prompt"]


async def test_times_are_told_where_they_are_asked_for(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.audio.transcriptions.create(
        model="scribe",
        file=("a.wav", recording()),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (made.language, made.duration, made.text) == ("english", 6.5, TEXT)
    assert made.words is not None and made.segments is not None
    assert (made.words[0].word, made.words[0].end) == ("The", 0.5)
    assert [one.text for one in made.segments] == [" The toll is nine crowns.", " Pay it."]
    assert sorted(mesh.provider.asked("scribe")[-1]["granular"]) == ["segment", "word"]


async def test_subtitles_are_made_of_segments(client: AsyncOpenAI) -> None:
    file = ("a.wav", recording())
    srt = await client.audio.transcriptions.create(model="scribe", file=file, response_format="srt")
    assert str(srt) == (
        "1\n00:00:00,000 --> 00:00:03,250\nThe toll is nine crowns.\n\n2\n00:00:03,250 --> 01:01:01,500\nPay it.\n\n"
    )
    vtt = await client.audio.transcriptions.create(model="scribe", file=file, response_format="vtt")
    assert str(vtt).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:03.250\nThe toll is nine crowns.\n")
    text = await client.audio.transcriptions.create(model="scribe", file=file, response_format="text")
    assert str(text) == f"{TEXT}\n"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_the_sdk_is_told_in_english_what_was_said(client: AsyncOpenAI, mesh: Mesh) -> None:
    file = ("a.wav", recording())
    made = await client.audio.translations.create(model="scribe", file=file, prompt="mules", temperature=0.2)
    assert made.text == TEXT
    got = mesh.provider.asked("scribe")[-1]
    assert got["path"] == "/v1/audio/translations" and (got["prompt"], got["temperature"]) == ("mules", "0.2")
    told = await client.audio.translations.create(model="scribe", file=file, response_format="verbose_json")
    assert [one.text for one in told.segments or ()] == [" The toll is nine crowns.", " Pay it."]
    assert told.model_extra is not None and told.model_extra["task"] == "translate"
    assert not mesh.provider.asked("scribe")[-1]["granular"], "nobody takes it there"
    with pytest.raises(BadRequestError, match="language"):
        await client.audio.translations.create(model="scribe", file=file, extra_body={"language": "de"})


async def test_without_a_model_the_one_that_listens_is_asked_and_what_was_told_is_charged(mesh: Mesh) -> None:
    key, reader = mesh.new_key("office/app"), mesh.new_key("ops", "--admin")
    form = aiohttp.FormData()
    form.add_field("file", recording(2.0), filename="a.wav")
    async with aiohttp.ClientSession() as http:
        url, bearer = f"{mesh.url}/v1/audio/transcriptions", {"authorization": f"Bearer {key}"}
        async with http.post(url, data=form, headers=bearer) as answer:
            assert answer.status == 200 and (await answer.json())["text"] == TEXT
            held = float(answer.headers["x-tollway-cost-max"])
    # A hundred tokens a second, in and out: three seconds at most, for the file's head counts as sound.
    assert held == pytest.approx(math.ceil(len(recording(2.0)) / 16_000) * 100 * (1 + 2) / 1e6)

    async def charged() -> bool:
        usage = await sent(mesh, path="/tollway/v1/usage?account=office", method="GET", key=reader)
        return [one["cost_usd"] for one in usage.json["data"]] == [pytest.approx(7 * 100 / 1e6)]

    await eventually(charged)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": "pdf"}, "response_format"),
        ({"temperature": 2}, "temperature"),
        ({"stream": True}, "stream"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"response_format": "verbose_json", "timestamp_granularities": ["letter"]}, "timestamp_granularities"),
        ({"extra_body": {"beam_size": 5}}, "beam_size"),
        ({"file": ("a.wav", b"")}, "file"),
    ],
)
async def test_a_mistake_is_told_by_its_field(client: AsyncOpenAI, more: dict[str, Any], param: str) -> None:
    asked: dict[str, Any] = {"model": "scribe", "file": ("a.wav", recording()), **more}
    with pytest.raises(BadRequestError) as refused:
        await client.audio.transcriptions.create(**asked)
    assert refused.value.param == param


async def test_a_body_of_another_kind_is_refused(mesh: Mesh) -> None:
    refused = await sent(mesh, {"model": "scribe"}, path="/v1/audio/transcriptions")
    assert (refused.status, refused.code) == (415, "unsupported_content_type")


async def test_models_that_listen_are_not_asked_to_chat(client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.audio.transcriptions.create(model="echo", file=("a.wav", recording()))
    assert refused.value.code == "unsupported_by_model"
