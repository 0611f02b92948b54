"""A document changes as one over an engine that knows no transactions, whatever is killed in between."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.documents import Key
from services.retrieval.engines import Snapshot
from services.retrieval.memory import MemoryStore
from services.retrieval.store import Found, Passage, Question, Scope, Vector, passage_id
from tests.retrieval.test_store import passage
from tests.support.scale import sized

KEY = ("acme", "", "d1")
SCOPE = Scope("acme")


class Killed(Exception):
    """The process ended just there."""


class Engine:
    """Passages in memory, changed one call at a time; `before` is called ahead of each change and may raise."""

    ways = frozenset({"bm25", "static", "dense"})

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.before: Callable[[], Any] = lambda: None

    async def of_document(self, key: Key, *, between: tuple[int, int] | None = None) -> Sequence[Passage]:
        low, high = between or (0, 10**9)
        return [one for one in await self.inner.of_document(*key) if low <= one.ordinal <= high]

    async def put(self, passages: Sequence[Passage]) -> None:
        for one in passages:  # one by one: a kill may come between any two
            self.before()
            self.inner._kept[one.id] = one
            await asyncio.sleep(0)

    async def prune(self, key: Key, version: str) -> None:
        for one in await self.inner.of_document(*key):
            if one.version != version:
                self.before()
                self.inner._kept.pop(one.id, None)
                await asyncio.sleep(0)

    async def add_dense(self, vectors: Mapping[str, Vector]) -> None:
        await self.inner.add_dense("acme", vectors)

    async def without_dense(self, most: int) -> Sequence[Passage]:
        return await self.inner.without_dense(most)

    async def passages(self, ids: Sequence[str]) -> Mapping[str, Passage]:
        return await self.inner.passages("acme", ids)

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        return await self.inner.dense_of("acme", ids)

    async def drop(self) -> None:
        await self.inner.drop()

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        return await self.inner.search(question, scope, most)


def version(name: str, count: int = 3) -> list[Passage]:
    return [
        passage(f"Toll number {n} of {name}.", version=name, ordinal=n, id=passage_id(*KEY, name, n))
        for n in range(count)
    ]


async def seen(store: Snapshot) -> dict[str, int]:
    """How many passages of each version a search finds."""
    found = await store.search(Question("toll", None, None), SCOPE, 100)
    made: dict[str, int] = {}
    for hit in found["bm25"]:
        assert hit.passage is not None
        one = hit.passage
        made[one.version] = made.get(one.version, 0) + 1
    return made


async def test_a_search_sees_one_whole_version_at_any_moment() -> None:
    engine = Engine()
    store = Snapshot(engine, MemoryCatalogue())
    await store.replace(*KEY, version("v0"))
    done = asyncio.Event()

    async def change() -> None:
        for n in range(1, 30):
            await store.replace(*KEY, version(f"v{n}"))
        done.set()

    task = asyncio.create_task(change())
    while not done.is_set():
        assert list((await seen(store)).values()) == [3]
        await asyncio.sleep(0)
    await task
    assert await seen(store) == {"v29": 3} and len(engine.inner._kept) == 3


async def test_replicas_that_change_the_same_document_leave_one_version() -> None:
    engine, heads = Engine(), MemoryCatalogue()
    replicas = [Snapshot(engine, heads) for _ in range(3)]
    await asyncio.gather(*(store.replace(*KEY, version(f"v{n}")) for n, store in enumerate(replicas)))
    assert list((await seen(replicas[0])).values()) == [3] and len(engine.inner._kept) == 3


async def test_what_is_removed_is_gone_from_that_moment_and_stays_gone() -> None:
    engine = Engine()
    store = Snapshot(engine, MemoryCatalogue())
    await store.replace(*KEY, version("v1"))
    engine.before = _killed
    with contextlib.suppress(Killed):
        await store.remove("acme", "", ["d1"])
    assert await seen(store) == {} and engine.inner._kept, "passages are left over, and found by nobody"
    engine.before = lambda: None
    assert await store.remove("acme", "", ["d1"]) == 0 and not engine.inner._kept


@settings(max_examples=sized(50, 2000))
@given(st.integers(0, 8), st.integers(1, 3))
def test_killed_anywhere_the_old_or_the_new_is_whole_and_the_next_change_cleans_up(kill_at: int, count: int) -> None:
    async def run() -> None:
        engine = Engine()
        store = Snapshot(engine, MemoryCatalogue())
        await store.replace(*KEY, version("old"))
        left = [kill_at]

        def before() -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        engine.before = before
        with contextlib.suppress(Killed):
            await store.replace(*KEY, version("new", count))
        assert await seen(store) in ({"old": 3}, {"new": count})
        engine.before = lambda: None
        await store.replace(*KEY, version("next"))
        assert await seen(store) == {"next": 3} and len(engine.inner._kept) == 3

    asyncio.run(run())


def _killed() -> None:
    raise Killed
