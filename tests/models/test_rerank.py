"""Providers that rank texts: what they are asked, and what of their answers is taken."""

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

TEXTS = ["one", "two", "three"]
RESULTS = [
    {"index": 2, "relevance_score": 0.5},
    {"index": 0, "relevance_score": 0.9},
    {"index": 1, "relevance_score": -1},
]


@pytest.fixture
async def ranking(upstream: Upstream) -> AsyncIterator[Ranking]:
    entries = {
        "m": Entry("judge", provider="jina", base_url=upstream.url, key=SECRET, rerank=True),
        "chat": Entry("chat", base_url=upstream.url),
        "claude": Entry("claude", provider="anthropic", base_url=upstream.url, rerank=True),
    }
    async with session() as http:
        yield Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({"usage": {"total_tokens": 42}}, 42),
        ({"meta": {"billed_units": {"search_units": 1}}}, 7),
        ({}, 7),
    ],
)
async def test_texts_are_put_in_order(ranking: Ranking, upstream: Upstream, told: dict[str, Any], tokens: int) -> None:
    upstream.answer = {"results": RESULTS, **told}
    made = await ranking.rerank("m", "which is the best", TEXTS, Asker())
    assert made.scores == [(0, 0.9), (2, 0.5), (1, -1.0)] and made.input_tokens == tokens
    (got,) = upstream.got
    assert got["path"] == "/rerank" and got["headers"]["authorization"] == f"Bearer {SECRET}"
    assert got["body"] == {"model": "judge", "query": "which is the best", "documents": TEXTS}


@pytest.mark.parametrize(
    "results", [RESULTS[:2], [*RESULTS, RESULTS[0]], [{"index": 0}], [{"index": 9, "relevance_score": 1}]]
)
async def test_an_answer_that_leaves_texts_out_is_none(ranking: Ranking, upstream: Upstream, results: Any) -> None:
    upstream.answer = {"results": results}
    with pytest.raises(faults.ProviderBroke):
        await ranking.rerank("m", "which", TEXTS, Asker())


@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_who_does_not_rank_is_not_asked(ranking: Ranking, upstream: Upstream, name: str) -> None:
    with pytest.raises(faults.Unsupported, match="cannot rank texts"):
        await ranking.rerank(name, "which", TEXTS, Asker())
    assert not upstream.got
