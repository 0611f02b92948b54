"""What every store of answers must do: memory, Qdrant Edge, Qdrant's wire, a Qdrant server where one is named."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import sample
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from msgspec.structs import replace
from qdrant_client import AsyncQdrantClient

from services.cache.edge import LEARNT, LONGEST_GROUP, PAGE, EdgeStore
from services.cache.forms import form
from services.cache.memory import MemoryStore
from services.cache.qdrant import QdrantStore
from services.cache.store import Entry, Selection, Store
from services.runtime.background import running
from tests.peers.qdrant import serving
from tests.support.waiting import until

KEY = b"k" * 32
LEAST = -1.0
"""Of a likeness: all of them."""
SERVER = os.environ.get("TOLLWAY_TEST_QDRANT", "")
"""HOST:PORT of a Qdrant server's gRPC port; without one that part is left out."""
ENGINES = [
    "memory",
    "edge",
    "wire",
    pytest.param("server", marks=pytest.mark.skipif(not SERVER, reason="TOLLWAY_TEST_QDRANT names no server")),
]


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "edge":
        edge = EdgeStore(tmp_path / "shard", KEY)
        edge.open()
        yield edge
        edge.close()
    elif request.param == "wire":
        async with serving() as port, served("127.0.0.1", port) as wire:
            yield wire
    else:
        host, _, named = SERVER.rpartition(":")
        async with served(host, int(named)) as server:
            yield server


@asynccontextmanager
async def served(host: str, port: int) -> AsyncIterator[QdrantStore]:
    client = AsyncQdrantClient(host=host, grpc_port=port, prefer_grpc=True, check_compatibility=False)
    store = QdrantStore(client, f"test-{uuid4().hex}", KEY)
    await store.open()
    await store.open()  # what is there already is no trouble
    yield store
    await client.delete_collection(store.collection)
    await client.close()


def vector(seed: int) -> Any:
    made = np.random.default_rng(seed).normal(size=256).astype(np.float32)
    return made / np.linalg.norm(made)


def entry(seed: int = 0, **more: Any) -> Entry:
    facts: dict[str, Any] = {
        "id": str(uuid4()), "tenant": "acme", "scope": "s1", "exact": uuid4().hex, "text": f"text {seed}",
        "vector": vector(seed), "completion": b"\x00answer\xff", "model": "m", "tags": ("a", "b"), "stored": 1000.0 + seed,
        "expires": 5000.0, "cost": 3, "took_s": 0.5, "attached": b"\x01",
    }  # fmt: skip
    return Entry(**{**facts, **more})


async def test_an_entry_comes_back_whole(store: Store) -> None:
    one = entry(1, text="käse \ud800 日本")
    await store.put(one)
    back = await store.get(one.id)
    assert back is not None and np.allclose(back.vector, one.vector, atol=1e-5)  # type: ignore[arg-type]
    assert replace(back, vector=None) == replace(one, vector=None)
    assert await store.get(str(uuid4())) is None


async def test_the_nearest_of_a_scope_best_first(store: Store) -> None:
    for n in range(20):
        await store.put(entry(n))
    await store.put(entry(3, scope="other"))
    found = await store.nearest("s1", vector(3), 3, LEAST)
    assert [one.text for one, _ in found][:1] == ["text 3"] and len(found) == 3
    assert found[0][1] == pytest.approx(1, abs=1e-3) and found[0][1] >= found[1][1] >= found[2][1]
    assert all(one.scope == "s1" for one, _ in found)
    assert not await store.nearest("nothing", vector(3), 3, LEAST)
    assert [one.text for one, _ in await store.nearest("s1", vector(3), 3, 0.9)] == ["text 3"]


async def test_an_entry_without_a_vector_is_found_by_its_id_alone(store: Store) -> None:
    one = entry(1, vector=None, scope="s2")
    await store.put(one)
    assert await store.get(one.id) is not None and not await store.nearest("s2", vector(1), 3, LEAST)


async def test_putting_again_replaces(store: Store) -> None:
    one = entry(1)
    await store.put(one)
    await store.nearest("s1", vector(1), 1, LEAST)
    await store.put(replace(one, completion=b"new", vector=vector(2)))
    back = await store.get(one.id)
    assert back is not None and back.completion == b"new" and await store.count() == 1
    assert (await store.nearest("s1", vector(2), 1, LEAST))[0][1] == pytest.approx(1, abs=1e-3)


async def test_dropping_by_tenant_tag_model_and_time(store: Store) -> None:
    changes: list[dict[str, Any]] = [{}, {"tags": ("c",)}, {"model": "n"}, {"tenant": "other"}, {"stored": 1.0}]
    for n, more in enumerate(changes):
        await store.put(entry(n, **more))
    await store.nearest("s1", vector(0), 5, LEAST)
    assert await store.drop(Selection("acme", tag="c")) == 1
    assert await store.drop(Selection("acme", model="n")) == 1
    assert await store.drop(Selection("acme", stored_before=10.0)) == 1
    assert await store.drop(Selection("acme")) == 1
    assert await store.count() == 1 and (await store.nearest("s1", vector(3), 5, LEAST))[0][0].tenant == "other"


async def test_the_oldest_and_removing(store: Store) -> None:
    made = [entry(n) for n in range(5)]
    for one in reversed(made):
        await store.put(one)
    oldest = await store.oldest(2)
    assert [one.text for one in oldest] == ["text 0", "text 1"] and oldest[0] == replace(made[0], vector=None)
    await store.remove([one.id for one in oldest])
    assert await store.get(made[0].id) is None and await store.count() == 3
    assert len(await store.nearest("s1", vector(0), 5, LEAST)) == 3


async def test_a_shard_survives_its_process_and_keeps_its_secrets(tmp_path: Path) -> None:
    one, edge = entry(7, text="very private words"), EdgeStore(tmp_path / "shard", KEY)
    edge.open()
    await edge.put(one)
    edge.close()
    assert not [f for f in (tmp_path / "shard").rglob("*") if f.is_file() and b"very private words" in f.read_bytes()]
    again = EdgeStore(tmp_path / "shard", KEY)
    again.open()
    assert (await again.get(one.id)) is not None and len(await again.nearest("s1", vector(7), 1, LEAST)) == 1
    again.close()
    other = EdgeStore(tmp_path / "shard", b"x" * 32)
    other.open()
    assert await other.get(one.id) is None  # under another key it is a miss, no error
    other.close()


async def test_what_is_near_is_read_where_its_text_gives_hope(tmp_path: Path) -> None:
    made, told = [entry(n) for n in range(3)], list[list[bytes]]()

    class Hopes:
        sought: Sequence[int] = ()

        def __call__(self, near: Sequence[tuple[bytes, float]]) -> bool:
            told.append([text for text, _ in near])
            assert all(cosine >= 0.9 for _, cosine in near)
            return form("text 1") in told[-1]

    hopes = Hopes()
    edge = EdgeStore(tmp_path / "shard", b"")
    edge.open()
    await edge.nearest("s1", vector(0), 1, LEAST)
    for one in made:
        await edge.put(one)
    assert not await edge.nearest("s1", vector(0), 1, 0.9, hopes)
    assert [one for one, _ in await edge.nearest("s1", vector(1), 1, 0.9, hopes)] == [made[1]]
    assert told == [[form("text 0")], [form("text 1")]]
    edge.close()
    again = EdgeStore(tmp_path / "shard", b"")
    again.open()
    assert await again.nearest("s1", vector(0), 1, 0.9)
    assert not await again.nearest("s1", vector(0), 1, 0.9, hopes)
    assert not await again.nearest("s1", vector(2), 1, 0.9, hopes)
    assert told[2:] == [[form("text 0")], [b""]], "known once the entry was read"
    again.close()


async def test_texts_that_were_there_before_are_learnt_beside_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cache.edge.LEARN_EVERY_S", 0.0)
    edge = EdgeStore(tmp_path / "shard", KEY)
    edge.open()
    made = [entry(n) for n in range(3 * LEARNT)]
    for one in made:
        await edge.put(one)
    edge.close()
    again = EdgeStore(tmp_path / "shard", KEY)
    again.open()
    async with running(again.learn()):
        await again.nearest("s1", vector(0), 1, LEAST)
        newer = replace(made[5], text="said anew")
        await again.put(newer)
        rows = again._scopes["s1"].rows

        def forms() -> list[bytes]:
            return [rows.nearest(one.vector, 1, 0.9)[0].form for one in made]  # type: ignore[arg-type]

        await until(lambda: all(forms()))
        assert forms() == [form((newer if one is made[5] else one).text) for one in made]
    again.close()


async def test_a_scope_is_read_a_piece_at_a_time_while_others_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = EdgeStore(tmp_path / "shard", b"")
    edge.open()
    made = [entry(n) for n in range(3 * PAGE)]
    for one in made:
        await edge.put(one)
    edge.close()
    monkeypatch.setattr("services.cache.edge.PATIENCE_S", 1e-9)
    again = EdgeStore(tmp_path / "shard", b"")
    again.open()
    await again.nearest("s1", vector(0), 1, LEAST)
    scope = again._scopes["s1"]
    assert len(scope.rows) == PAGE and not scope.whole
    await again.put(new := entry(9999))
    assert (await again.nearest("s1", new.vector, 1, 0.9))[0][0].id == new.id  # type: ignore[arg-type]
    assert len(scope.rows) == 2 * PAGE + 1
    await asyncio.gather(*(again.nearest("s1", vector(n), 1, LEAST) for n in range(3)))
    await again.nearest("s1", vector(0), 1, LEAST)
    assert scope.whole and len(scope.rows) == len(made) + 1
    for n in sample(range(len(made)), 50):
        assert (await again.nearest("s1", vector(n), 2, 0.9))[0][0].id == made[n].id
    again.close()


async def test_what_goes_leaves_a_scope_that_was_read(store: Store) -> None:
    made = [entry(n, tags=("odd",) if n % 2 else ("even",)) for n in range(600)]
    for one in made:
        await store.put(one)
    assert len(await store.nearest("s1", vector(4), 5, LEAST)) == 5
    assert await store.drop(Selection("acme", tag="odd")) == 300
    await store.remove([one.id for one in made[:100:2]])
    for n in (101, 0, 98):
        assert not await store.nearest("s1", vector(n), 5, 0.9)
    assert (await store.nearest("s1", vector(100), 5, 0.9))[0][0].id == made[100].id
    await store.put(made[101])
    assert (await store.nearest("s1", vector(101), 5, 0.9))[0][0].id == made[101].id


async def test_what_has_gone_leaves_its_room_at_the_next_start(tmp_path: Path) -> None:
    edge = EdgeStore(tmp_path / "shard", KEY)
    edge.open()
    made = [entry(n, tags=("kept",) if n % 10 == 0 else ("gone",)) for n in range(4000)]
    for one in made:
        await edge.put(one)
    assert await edge.drop(Selection("acme", tag="gone")) == 3600
    edge.close()
    before = room(tmp_path)
    again = EdgeStore(tmp_path / "shard", KEY)
    again.open()
    assert await again.count() == 400 and await again.get(made[1].id) is None
    for one in made[::1000]:
        assert (await again.nearest("s1", one.vector, 1, 0.9))[0][0].id == one.id  # type: ignore[arg-type]
    again.close()
    assert room(tmp_path) < before - 3000 * 1024


def room(folder: Path) -> int:
    """Bytes that its files take of a disk."""
    return sum(512 * one.stat().st_blocks for one in folder.rglob("*") if one.is_file())


class Full:
    """A shard on a disk that has no room until somebody makes some."""

    def __init__(self, shard: Any) -> None:
        self.shard, self.full, self.tried = shard, True, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shard, name)

    def update(self, operation: Any) -> None:
        self.tried += 1
        if self.full:
            raise Exception("Service runtime error: no space left")
        self.shard.update(operation)


async def test_a_disk_without_room_stops_nothing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.cache.edge.FLUSH_EVERY_S", 0.01)
    monkeypatch.setattr("services.cache.edge.GROUP_S", 0.001)
    edge = EdgeStore(tmp_path / "shard", KEY)
    edge.open()
    edge._shard = full = Full(edge._shard)
    made = [entry(n) for n in range(LONGEST_GROUP + 1)]
    async with running(edge.run()):
        for one in made:
            await edge.put(one)
        await until(lambda: full.tried >= 3)
        assert "no space left" in caplog.text
        assert await edge.get(made[0].id) is not None
        assert (await edge.nearest("s1", vector(7), 1, LEAST))[0][0].id == made[7].id
        with pytest.raises(Exception, match="no space left"):  # who asks for it hears that it was not done
            await edge.drop(Selection("acme"))
        full.full = False
        await until(lambda: not edge._pending)
    assert await edge.count() == len(made)
    edge.close()


async def test_of_what_waits_for_a_disk_the_oldest_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.cache.edge.MOST_WAITING", 3)
    edge = EdgeStore(tmp_path / "shard", KEY)
    edge.open()
    edge._shard = full = Full(edge._shard)
    made = [entry(n) for n in range(5)]
    for one in made:
        await edge.put(one)
    with pytest.raises(Exception, match="no space left"):
        await edge.count()
    full.full = False
    assert {one.id for one in await edge.oldest(10)} == {one.id for one in made[2:]}
    edge.close()
