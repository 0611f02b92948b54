"""Embeddings that nobody waits for share calls, and nobody pays or fails for another."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.models import faults
from services.models.gathering import MOST_TEXTS, Gathering, shared
from services.models.limits import Priority
from services.models.pools import Asker
from services.models.wires.adapter import Embedded
from services.runtime.errors import Failure


class Ranking:
    """Makes a vector of each text's length; refuses `bad` texts, and everything while `away`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str], int]] = []
        self.away = False
        self.catalogue = self

    def entry(self, name: str) -> str:
        return name

    async def embed(self, name: str, texts: list[str], dimensions: int, asker: Asker) -> Embedded:
        self.calls.append((asker.tenant, texts, asker.tokens))
        await asyncio.sleep(0.01)
        if self.away:
            raise faults.ProviderAway(model=name, why="as asked")
        if "bad" in texts:
            raise faults.ProviderRefused(model=name, status=400, about="as asked")
        return Embedded([[float(len(text))] for text in texts], sum(map(len, texts)))


def asker(tenant: str = "acme", tokens: int = 1) -> Asker:
    return Asker(tenant, Priority.LOW, tokens)


async def test_what_comes_together_goes_together_by_tenant_and_model() -> None:
    ranking: Any = Ranking()
    gathering = Gathering(ranking)
    texts = [["a"], ["bb", "ccc"], ["dddd"]]
    asked = [gathering.embed("m", one, 0, asker()) for one in texts]
    other = [gathering.embed("m", ["x"], 0, asker("globex")), gathering.embed("n", ["y"], 0, asker())]
    *made, theirs, another = await asyncio.gather(*asked, *other)
    assert [one.vectors for one in made] == [[[1.0]], [[2.0], [3.0]], [[4.0]]]
    assert [one.input_tokens for one in made] == [1, 5, 4]
    assert sorted(ranking.calls) == [
        ("acme", ["a", "bb", "ccc", "dddd"], 3), ("acme", ["y"], 1), ("globex", ["x"], 1),
    ]  # fmt: skip
    assert theirs.vectors == another.vectors == [[1.0]]


async def test_a_call_is_never_larger_than_providers_take() -> None:
    ranking: Any = Ranking()
    gathering = Gathering(ranking)
    many = [f"{n}" for n in range(MOST_TEXTS - 1)]
    await asyncio.gather(*(gathering.embed("m", one, 0, asker()) for one in (many, ["a", "b"], ["c"])))
    assert [len(texts) for _, texts, _ in ranking.calls] == [MOST_TEXTS - 1, 3]


async def test_what_one_text_brings_on_is_its_callers_alone() -> None:
    ranking: Any = Ranking()
    gathering = Gathering(ranking)
    good, bad = await asyncio.gather(
        gathering.embed("m", ["good"], 0, asker()), gathering.embed("m", ["bad"], 0, asker()), return_exceptions=True
    )
    assert isinstance(good, Embedded) and good.vectors == [[4.0]]
    assert isinstance(bad, faults.ProviderRefused) and len(ranking.calls) == 3


async def test_a_provider_that_is_away_is_away_for_all() -> None:
    ranking: Any = Ranking()
    ranking.away = True
    gathering = Gathering(ranking)
    made = await asyncio.gather(*(gathering.embed("m", ["a"], 0, asker()) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(one, Failure) for one in made) and len(ranking.calls) == 1


async def test_who_leaves_takes_nobody_along() -> None:
    ranking: Any = Ranking()
    gathering = Gathering(ranking)
    leaving = asyncio.create_task(gathering.embed("m", ["a"], 0, asker()))
    staying = asyncio.create_task(gathering.embed("m", ["bb"], 0, asker()))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).vectors == [[2.0]]
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert ranking.calls == [("acme", ["bb"], 1)]


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(0, 500))
def test_what_was_billed_is_shared_out_whole(texts: list[list[str]], tokens: int) -> None:
    vectors = [[float(n)] for n in range(sum(map(len, texts)))]
    made = shared(Embedded(vectors, tokens), texts)
    assert sum(one.input_tokens for one in made) == tokens and all(one.input_tokens >= 0 for one in made)
    assert [vector for one in made for vector in one.vectors] == vectors
    assert [len(one.vectors) for one in made] == [len(one) for one in texts]
