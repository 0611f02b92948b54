"""One look says who may see a passage: whoever wrote it, nobody sees more or less."""

from pathlib import Path
from typing import Any

import pytest

from services.retrieval import points
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import Encoding
from services.retrieval.generations import Generation, Generations
from services.retrieval.payload import written
from services.retrieval.search import Search, Wish
from services.retrieval.store import Question, Scope
from tests.retrieval.test_store import passage
from tests.support.encoders import Encoder

SCOPES: list[dict[str, Any]] = [
    {},
    {"readers": ("*", "finance")},
    {"readers": ("nobody",)},
    {"collection": "hr"},
    {"collection": "hr", "readers": ("finance",)},
    {"collection": "unheard-of"},
    {"tenant": "other"},
]


KINDS: list[dict[str, Any]] = [
    {},
    {"readers": ("finance",)},
    {"collection": "hr"},
    {"collection": "hr", "readers": ("finance",)},
    {"tenant": "other"},
    {"readers": ()},
]
SEEN = ((0, 2), (0, 1, 2, 3), (), (2,), (3,), (), (4,))
"""By scope, which of the kinds it finds."""


async def found(edge: EdgeStore, scope: dict[str, Any]) -> set[str]:
    asked = Scope(**{"tenant": "acme", **scope})
    hits = (await edge.search(Question("toll", None, None), asked, 100))["bm25"]
    return {one.text for one in (await edge.passages(asked.tenant, [hit.id for hit in hits])).values()}


async def test_who_may_see_what_an_earlier_release_wrote_is_the_same_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one was in use again for a while."""

    async def seen(edge: EdgeStore) -> list[set[str]]:
        return [await found(edge, scope) for scope in SCOPES]

    async def brought(edge: EdgeStore, number: int) -> None:
        for n, facts in enumerate(KINDS):
            one = passage(f"Toll {number} {n}.", f"d{number}-{n}", **facts)
            await edge.replace(one.tenant, one.collection, one.document_id, [one])

    def reopened(edge: EdgeStore) -> EdgeStore:
        edge.close()
        again = EdgeStore(edge.folder)
        again.open()
        return again

    def wanted(numbers: int) -> list[set[str]]:
        return [{f"Toll {number} {n}." for number in range(numbers) for n in some} for some in SEEN]

    edge = EdgeStore(tmp_path / "shard")
    with monkeypatch.context() as before:
        before.setattr(points, "_look_up", lambda _: None)
        before.setattr(points, "facts", written)
        edge.open()
        await brought(edge, 0)
    edge = reopened(edge)
    assert not edge._shared._keyed and await seen(edge) == wanted(1)
    await brought(edge, 1)
    assert await seen(edge) == wanted(2)
    await edge.tidy()
    assert edge._shared._keyed and await seen(edge) == wanted(2)
    with monkeypatch.context() as back:
        back.setattr(points, "facts", written)
        await brought(edge, 2)
    edge = reopened(edge)
    assert not edge._shared._keyed and await seen(edge) == wanted(3)
    await edge.tidy()
    assert edge._shared._keyed and await seen(edge) == wanted(3)
    edge.close()


async def test_of_what_has_the_same_digest_nothing_is_given_that_may_not_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "_number", lambda *names: 7)
    edge = EdgeStore(tmp_path / "shard")
    edge.open()
    for n, facts in enumerate(KINDS):
        one = passage(f"Toll {n}.", f"d{n}", **facts)
        await edge.replace(one.tenant, one.collection, one.document_id, [one])
    search = Search(Generations(Generation("first", edge, Encoding(Encoder()))))  # type: ignore[arg-type]
    for scope, wanted in zip(SCOPES, SEEN, strict=True):
        asked = Scope(**{"tenant": "acme", **scope})
        assert len((await edge.search(Question("toll", None, None), asked, 100))["bm25"]) == len(KINDS)
        given = await search.search("toll", None, asked, Wish(100))
        assert {one.passage.text for one in given} == {f"Toll {n}." for n in wanted}
    edge.close()
