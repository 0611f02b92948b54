"""Providers that judge texts by categories of harm: what they are asked, and what of their answers is taken."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.models import faults
from services.models.catalogue import Catalogue, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.every import wires_over
from services.runtime.http import session
from services.runtime.secrets import Secrets
from tests.models.upstream import SECRET, Upstream, counter

ONE = {"categories": {"violence": True, "sexual": False}, "category_scores": {"violence": 0.9, "sexual": 0.1}}
OTHER = {"categories": {"violence": False, "sexual": False}, "category_scores": {"violence": 0.0, "sexual": 0.0}}


@pytest.fixture
async def ranking(upstream: Upstream) -> AsyncIterator[Ranking]:
    entries = {
        "m": Entry("omni-moderation-latest", base_url=upstream.url, key=SECRET, moderation=True),
        "chat": Entry("chat", base_url=upstream.url),
        "claude": Entry("claude", provider="anthropic", base_url=upstream.url, moderation=True),
    }
    async with session() as http:
        yield Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))


@pytest.mark.parametrize(("told", "tokens"), [({"usage": {"total_tokens": 42}}, 42), ({}, 4)])
async def test_each_text_is_judged(ranking: Ranking, upstream: Upstream, told: dict[str, Any], tokens: int) -> None:
    upstream.answer = {"results": [{"flagged": True, **ONE}, OTHER], **told}
    made = await ranking.moderate("m", ["hurt them", "kind words"], Asker())
    assert made.texts == [
        {"violence": (True, 0.9), "sexual": (False, 0.1)},
        {"violence": (False, 0.0), "sexual": (False, 0.0)},
    ]
    assert made.input_tokens == tokens
    (got,) = upstream.got
    assert got["path"] == "/moderations" and got["headers"]["authorization"] == f"Bearer {SECRET}"
    assert got["body"] == {"model": "omni-moderation-latest", "input": ["hurt them", "kind words"]}


@pytest.mark.parametrize(
    "results", [[ONE], [ONE, OTHER, OTHER], [ONE, {"categories": {"violence": True}}], [ONE, "fine"], None]
)
async def test_an_answer_that_leaves_something_out_is_none(ranking: Ranking, upstream: Upstream, results: Any) -> None:
    upstream.answer = {"results": results}
    with pytest.raises(faults.ProviderBroke):
        await ranking.moderate("m", ["one", "two"], Asker())


@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_who_does_not_moderate_is_not_asked(ranking: Ranking, upstream: Upstream, name: str) -> None:
    with pytest.raises(faults.Unsupported, match="cannot moderate"):
        await ranking.moderate(name, ["one"], Asker())
    assert not upstream.got
