"""Providers that write down speech: what they are asked, what of their answers is taken, and what is billed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tollway.models.v1 import models_pb2

from services.models import faults
from services.models.catalogue import Catalogue, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.every import wires_over
from services.models.wires.form import File, Form
from services.runtime.http import session
from services.runtime.secrets import Secrets
from tests.models.upstream import SECRET, Upstream, counter
from tests.peers.provider import provider

RECORDING = models_pb2.Recording(data=b"sound\r\n--\x00", filename='na"me.mp3', language="de", words=True)
TOKENS = {"type": "tokens", "input_tokens": 30, "output_tokens": 9, "input_token_details": {"audio_tokens": 25}}


def ranking_of(http: Any, url: str) -> Ranking:
    entries = {
        "m": Entry("m", base_url=url, key=SECRET, second_tokens=10),
        "chat": Entry("chat", base_url=url),
        "claude": Entry("claude", provider="anthropic", base_url=url, second_tokens=10),
    }
    return Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))


@pytest.fixture
async def ranking(upstream: Upstream) -> AsyncIterator[Ranking]:
    async with session() as http:
        yield ranking_of(http, upstream.url)


async def test_the_file_arrives_as_it_is() -> None:
    with provider() as peer:
        async with session() as http:
            made = await ranking_of(http, peer.url).transcribe("m", RECORDING, 60, Asker())
        (got,) = peer.asked("m")
    assert got["file"] == ("na%22me.mp3", RECORDING.data.decode("latin-1"))
    assert (got["language"], got["response_format"], got["granular"]) == ("de", "verbose_json", ["word"])
    assert made.transcript.words[0].text == "The" and made.transcript.duration_s == 6.5


@pytest.mark.parametrize(
    ("told", "read", "written", "sound", "estimated"),
    [
        ({"usage": TOKENS}, 30, 9, 25, False),
        ({"usage": {"type": "duration", "seconds": 7}}, 70, 0, 70, False),
        ({"duration": 6.2}, 70, 0, 70, False),
        ({}, 600, 0, 600, True),
    ],
)
async def test_it_is_billed_as_the_provider_tells(
    ranking: Ranking, upstream: Upstream, told: Any, read: int, written: int, sound: int, estimated: bool
) -> None:
    upstream.answer = {"text": "nine crowns", **told}
    made = await ranking.transcribe("m", RECORDING, 60, Asker())
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.estimated) == (read, written, estimated)
    assert made.usage.kinds.audio_input_tokens == sound and made.transcript.text == "nine crowns"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"text": 7},
        {"text": "x", "segments": [{"start": 0}]},
        {"text": "x", "duration": "long"},
        {"text": "x", "duration": -1},
    ],
)
async def test_an_answer_of_another_shape_is_none(ranking: Ranking, upstream: Upstream, answer: dict[str, Any]) -> None:
    upstream.answer = answer
    with pytest.raises(faults.ProviderBroke):
        await ranking.transcribe("m", RECORDING, 60, Asker())


@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_who_writes_nothing_down_is_not_asked(ranking: Ranking, upstream: Upstream, name: str) -> None:
    with pytest.raises(faults.Unsupported, match="cannot write down speech"):
        await ranking.transcribe(name, RECORDING, 60, Asker())
    assert not upstream.got


@pytest.mark.parametrize(
    ("name", "begins", "kind"),
    [
        ("a.png", b"", "image/png"),
        ("a.mp3", b"\x89PNG\r\n\x1a\n", "audio/mpeg"),
        ("upload", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("upload", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("upload", b"RIFF\n\0\0\0WEBPVP8 ", "image/webp"),
        ("upload", b"RIFF\n\0\0\0WAVEfmt ", "application/octet-stream"),
    ],
)
def test_what_a_file_is_shows_in_its_name_or_its_beginning(name: str, begins: bytes, kind: str) -> None:
    assert File("file", name, begins).kind == kind


def test_a_name_breaks_no_line_of_the_form() -> None:
    made = Form([("a", "b")], [File("file", 'x"\r\ny', b"file")], "edge").encoded()
    assert b'filename="x%22%0D%0Ay"' in made and made.endswith(b"\r\n\r\nfile\r\n--edge--\r\n")
    assert made.startswith(b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--edge\r\n')
