"""Providers that make pictures: what they are asked, what of their answers is taken, and what is billed."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tollway.models.v1 import models_pb2

from services.models import faults
from services.models.catalogue import Catalogue, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.adapter import Wanted
from services.models.wires.every import wires_over
from services.runtime.http import session
from services.runtime.secrets import Secrets
from tests.models.upstream import SECRET, Upstream, counter

FILE = base64.b64encode(b"a picture").decode()
WANTED = Wanted("a bridge at dusk", 2, {"size": "1024x1024", "output_compression": 0})


@pytest.fixture
async def ranking(upstream: Upstream) -> AsyncIterator[Ranking]:
    entries = {
        "m": Entry("gpt-image-1", base_url=upstream.url, key=SECRET, image_tokens=1000),
        "chat": Entry("chat", base_url=upstream.url),
        "claude": Entry("claude", provider="anthropic", base_url=upstream.url, image_tokens=1000),
    }
    async with session() as http:
        yield Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))


async def test_files_and_what_they_are_billed_for(ranking: Ranking, upstream: Upstream) -> None:
    used = {"input_tokens": 50, "output_tokens": 544, "input_tokens_details": {"text_tokens": 20, "image_tokens": 30}}
    upstream.answer = {"data": [{"b64_json": FILE}] * 2, "size": "1024x1024", "quality": "low", "usage": used}
    made = await ranking.draw("m", WANTED, Asker())
    assert [one.data for one in made.images] == [b"a picture"] * 2
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.estimated) == (50, 544, False)
    assert (made.usage.kinds.image_input_tokens, made.usage.kinds.image_output_tokens) == (30, 544)
    assert (made.options.size, made.options.quality) == ("1024x1024", "low")
    (got,) = upstream.got
    assert got["path"] == "/images/generations" and got["headers"]["authorization"] == f"Bearer {SECRET}"
    asked = {"model": "gpt-image-1", "prompt": WANTED.prompt, "n": 2, "size": "1024x1024", "output_compression": 0}
    assert got["body"] == asked


@pytest.mark.parametrize(("names", "part"), [(["a.png"], "image"), (["a.png", "b.webp"], "image[]")])
async def test_pictures_that_are_changed_go_along_as_files(
    ranking: Ranking, upstream: Upstream, names: list[str], part: str
) -> None:
    upstream.answer = {"data": [{"b64_json": FILE}]}
    pictures = [models_pb2.PictureFile(data=name.encode(), filename=name) for name in names]
    mask = models_pb2.PictureFile(data=b"mask", filename="mask.png")
    wanted = Wanted("at dawn", 1, {"size": "1024x1024", "output_compression": 80}, pictures, mask)
    made = await ranking.draw("m", wanted, Asker())
    assert made.images[0].data == b"a picture" and made.usage.estimated
    (got,) = upstream.got
    assert got["path"] == "/images/edits" and got["headers"]["content-type"].startswith("multipart/form-data")
    said = got["raw"].decode()
    for name, value in (("prompt", "at dawn"), ("n", "1"), ("size", "1024x1024"), ("output_compression", "80")):
        assert f'name="{name}"\r\n\r\n{value}\r\n' in said
    for name in names:
        kind = f"image/{name[2:]}"
        assert f'name="{part}"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n{name}\r\n' in said
    assert 'name="mask"; filename="mask.png"\r\nContent-Type: image/png\r\n\r\nmask\r\n' in said


async def test_of_a_provider_that_tells_nothing_each_picture_costs_the_most(
    ranking: Ranking, upstream: Upstream
) -> None:
    upstream.answer = {
        "data": [
            {"url": "https://example.com/1.png", "revised_prompt": "A bridge."},
            {"url": "https://example.com/2.png"},
        ]
    }
    made = await ranking.draw("m", WANTED, Asker())
    assert [one.url for one in made.images] == ["https://example.com/1.png", "https://example.com/2.png"]
    assert made.images[0].revised_prompt == "A bridge."
    assert made.usage.estimated and made.usage.output_tokens == made.usage.kinds.image_output_tokens == 2000
    assert made.usage.input_tokens == 4


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {},
        {"data": [{}]},
        {"data": [{"b64_json": "no base64!"}]},
        {"data": [{"b64_json": FILE}], "usage": {"input_tokens": 1}},
        {"data": [{"b64_json": FILE}], "size": 7},
    ],
)
async def test_an_answer_of_another_shape_is_none(ranking: Ranking, upstream: Upstream, answer: dict[str, Any]) -> None:
    upstream.answer = answer
    with pytest.raises(faults.ProviderBroke):
        await ranking.draw("m", WANTED, Asker())


@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_who_makes_none_is_not_asked(ranking: Ranking, upstream: Upstream, name: str) -> None:
    with pytest.raises(faults.Unsupported, match="cannot make pictures"):
        await ranking.draw(name, WANTED, Asker())
    assert not upstream.got
