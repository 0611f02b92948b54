"""What Qdrant Edge needs beside what every store does: graphs, moves to shards of their own, kills between any two steps."""

import asyncio
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as q

from services.retrieval import points
from services.retrieval.edge import EdgeStore, home_of
from services.retrieval.shard import Shard
from services.retrieval.store import Passage, Question, Scope, passage_id
from services.runtime.background import running
from tests.retrieval.test_store import BRIDGE, TOLL, passage, texts
from tests.support.waiting import until


@pytest.mark.parametrize("own_from", [10_000, 1000])
async def test_graphs_are_built_aside_while_the_shard_changes(tmp_path: Path, own_from: int) -> None:
    """What comes, changes and goes while the copy is worked on is in the shard that takes its place, and in the one a tenant moves to."""
    edge = EdgeStore(tmp_path / "shard", own_from=own_from)
    edge.open()
    chance = np.random.default_rng(1)

    def some(name: str, version: str, count: int = 20) -> list[Passage]:
        made = []
        for n in range(count):
            dense = chance.normal(size=384).astype(np.float32)
            facts: dict[str, Any] = {"version": version, "ordinal": n, "id": passage_id("acme", "", name, version, n)}
            made.append(
                passage(f"{name} {version} {n}", name, dense=dense / np.linalg.norm(dense), followed=True, **facts)
            )
        return made

    for n in range(150):
        await edge.replace("acme", "", f"d{n}", some(f"d{n}", "v1"))
    await edge.replace("small", "", "d1", [passage(BRIDGE, tenant="small")])
    tidying = asyncio.create_task(edge.tidy())
    for n in range(20):
        await edge.replace("acme", "", f"d{n}", some(f"d{n}", "v2", 10))
        await edge.remove("acme", "", [f"d{n + 100}"])
        await edge.replace("acme", "", f"new{n}", some(f"new{n}", "v1", 5))
        assert await texts(edge, f"d{n} v2", "bm25")
        await asyncio.sleep(0.02)
    await edge.replace("small", "", "d2", [passage(TOLL, "d2", tenant="small")])
    await tidying
    assert set(edge._own) == ({"acme"} if own_from == 1000 else set())
    for store in (edge, EdgeStore(tmp_path / "shard")):
        if store is not edge:
            edge.close()
            store.open()
        counts = {name: len(await store.of_document("acme", "", name)) for name in ("d0", "d50", "d100", "new0", "d19")}
        assert counts == {"d0": 10, "d50": 20, "d100": 0, "new0": 5, "d19": 10}
        kept = await store.of_document("acme", "", "d60")
        question = Question("", None, kept[3].dense)
        assert (await store.search(question, Scope("acme"), 3))["dense"][0].id == kept[3].id
        assert sorted(await texts(store, "toll bridge", "bm25", tenant="small")) == [BRIDGE, TOLL]
    folders = {str(one.relative_to(tmp_path).parent) for one in tmp_path.rglob("edge_config.json")}
    assert folders == {"shard", *(f"shard.own/{home_of(tenant)}/shard" for tenant in store._own)}
    store.close()


@pytest.mark.parametrize("after", [0, 1])
async def test_a_replacement_that_broke_off_leaves_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Before the new passages are in, the old version stands; after that, the new one: on the next start, and before that too."""
    edge, done = EdgeStore(tmp_path / "shard"), list[object]()
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL, ordinal=0), passage(BRIDGE, ordinal=1)])
    whole = Shard._update

    def breaking(shard: Shard, tenant: str, operation: object) -> None:
        if len(done) == after:
            raise OSError("no power")
        done.append(operation)
        whole(shard, tenant, operation)

    new = [passage("Bridges cost nothing.", version="v2", id=passage_id("acme", "", "d1", "v2", 0))]
    with monkeypatch.context() as broken:
        broken.setattr(Shard, "_update", breaking)
        with pytest.raises(OSError, match="no power"):
            await edge.replace("acme", "", "d1", new)
    shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-same"))
    wanted = {"v2"} if after else {"v1"}
    await edge.replace("acme", "", "d2", [passage(TOLL, "d2")])  # the next change ends what broke off before it
    assert {one.version for one in await edge.of_document("acme", "", "d1")} == wanted
    edge.close()
    again = EdgeStore(tmp_path.with_name(f"{tmp_path.name}-same") / "shard")
    again.open()
    assert {one.version for one in await again.of_document("acme", "", "d1")} == wanted
    again.close()


async def test_a_shard_of_the_release_before_looks_through_8_bits_once_it_is_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(_: int) -> Any:
        sizes = {"static": 256, "dense": 384}
        vectors = {name: q.EdgeVectorParams(size=size, distance=q.Distance.Cosine) for name, size in sizes.items()}
        words = q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)
        return q.EdgeConfig(vectors=vectors, sparse_vectors={"bm25": words})

    chance = np.random.default_rng(2)
    vectors = chance.normal(size=(8000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    one = passage(TOLL, followed=True)
    with monkeypatch.context() as before:
        before.setattr(points, "configured", plain)
        edge = EdgeStore(tmp_path / "shard")
        edge.open()
        for d in range(8):
            some = [
                replace(
                    one,
                    id=passage_id("acme", "", f"d{d}", "v1", n),
                    document_id=f"d{d}",
                    ordinal=n,
                    dense=vectors[1000 * d + n],
                )
                for n in range(1000)
            ]
            await edge.replace("acme", "", f"d{d}", some)
        edge.close()
    assert "int8" not in told(tmp_path)
    edge = EdgeStore(tmp_path / "shard")
    edge.open()
    await edge.tidy()
    assert "int8" in told(tmp_path)
    for n in range(0, 8000, 400):
        (first, *_) = (await edge.search(Question("", None, vectors[n]), Scope("acme"), 5))["dense"]
        assert first.id == passage_id("acme", "", f"d{n // 1000}", "v1", n % 1000) and first.score > 0.999
    edge.close()


def told(folder: Path) -> str:
    """What the engine says of the shard's segments."""
    return " ".join(one.read_text() for one in folder.glob("shard/segments/*/segment.json"))


def test_a_kill_between_the_renames_of_a_swap_loses_nothing(tmp_path: Path) -> None:
    edge = EdgeStore(tmp_path / "shard")
    edge.open()
    asyncio.run(edge.replace("acme", "", "d1", [passage(TOLL)]))
    edge.close()
    (tmp_path / "shard").rename(tmp_path / "shard.old")
    again = EdgeStore(tmp_path / "shard")
    again.open()
    assert len(asyncio.run(again.of_document("acme", "", "d1"))) == 1
    again.close()


async def test_a_swap_that_breaks_off_between_its_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, rename = EdgeStore(tmp_path / "shard"), Path.rename
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL)])

    def failing(self: Path, target: Path) -> Path:
        if self.suffix == ".copy":
            raise OSError(5, "the disk is gone")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", failing)
        with pytest.raises(OSError, match="the disk is gone"):
            await edge.tidy()
    edge.close()
    again = EdgeStore(tmp_path / "shard")
    again.open()
    assert await texts(again, "toll", "bm25") == [TOLL]
    again.close()


@pytest.mark.parametrize("own_from", [10_000, 1])
async def test_a_shard_that_is_dropped_while_its_graphs_are_built_stays_dropped(tmp_path: Path, own_from: int) -> None:
    edge = EdgeStore(tmp_path / "shard", own_from=own_from)
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL)])
    tidying = asyncio.create_task(edge.tidy())
    await asyncio.sleep(0.05)
    await edge.drop()
    await tidying
    edge.close()
    assert list(tmp_path.iterdir()) == []


async def parting(folder: Path) -> EdgeStore:
    """With a tenant of two passages who moves when graphs are next built, and one of one who stays."""
    edge = EdgeStore(folder / "shard", own_from=2)
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL), passage(BRIDGE)])
    await edge.replace("small", "", "d1", [passage(TOLL, tenant="small")])
    return edge


async def held(edge: EdgeStore) -> dict[str, list[str]]:
    """What the shared shard has, and what searches find, by tenant."""
    return {tenant: sorted(await texts(edge, "toll bridge", "bm25", tenant=tenant)) for tenant in ("acme", "small")} | {
        "shared": sorted(one.tenant for one in await edge._shared.without_dense(10))
    }


MOVED = {"acme": [BRIDGE, TOLL], "small": [TOLL], "shared": ["small"]}


@pytest.mark.parametrize("step", ["replay", "rename", "settle", "settled"])
async def test_a_kill_anywhere_in_a_move_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What the disk has when it comes to each step, opened anew."""
    edge, killed = await parting(tmp_path / "live"), tmp_path / "killed"
    replay, settle, rename = Shard.replay, Shard.settle, Path.rename

    def killing(at: str) -> None:
        if at == step and not killed.exists():
            shutil.copytree(tmp_path / "live", killed)

    def replaying(self: Shard, *more: Any) -> None:
        killing("replay")
        replay(self, *more)

    def renaming(self: Path, target: Path) -> Path:
        if self.suffix == ".new" and self.parent.name == "shard.own":
            killing("rename")
        return rename(self, target)

    async def settling(self: Shard, *more: Any) -> None:
        killing("settle")
        await settle(self, *more)
        killing("settled")

    with monkeypatch.context() as patched:
        patched.setattr(Shard, "replay", replaying)
        patched.setattr(Path, "rename", renaming)
        patched.setattr(Shard, "settle", settling)
        await edge.tidy()
    assert await held(edge) == MOVED
    edge.close()
    again = EdgeStore(killed / "shard", own_from=2)
    again.open()
    before = MOVED if step.startswith("settle") else {**MOVED, "shared": ["acme", "acme", "small"]}
    assert await held(again) == before
    await again.tidy()
    assert await held(again) == MOVED
    again.close()


async def test_a_move_that_fails_at_its_end_is_one_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await parting(tmp_path)

    async def failing(*_: Any) -> None:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Shard, "settle", failing)
        with pytest.raises(OSError, match="no space left"):
            await edge.tidy()
    assert await held(edge) == MOVED
    await edge.replace("acme", "", "d1", [passage(TOLL)])
    await edge.tidy()
    edge.close()
    edge = EdgeStore(tmp_path / "shard", own_from=2)
    edge.open()
    assert await held(edge) == {**MOVED, "acme": [TOLL]}
    edge.close()


async def test_who_leaves_a_drop_leaves_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = EdgeStore(tmp_path / "store")
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL, "d1")])
    begun, take_away = threading.Event(), shutil.rmtree

    def slow(*given: Any) -> None:
        begun.set()
        time.sleep(0.2)
        take_away(*given)

    monkeypatch.setattr(shutil, "rmtree", slow)
    first = asyncio.create_task(edge.drop())
    await until(begun.is_set)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await edge.drop()
    assert not edge.folder.exists()


async def test_a_drop_that_broke_off_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = EdgeStore(tmp_path / "shard")
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL)])

    def broken(*_: Any) -> None:
        raise OSError("no")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(shutil, "rmtree", broken)
        with pytest.raises(OSError, match="no"):
            await edge.drop()
    await edge.drop()
    assert not list(tmp_path.glob("shard*"))


async def test_shards_that_are_not_asked_rest_and_wake_when_they_are(tmp_path: Path) -> None:
    edge = EdgeStore(tmp_path / "shard", own_from=1, most_awake=2)
    edge.open()
    tenants = [f"t{n}" for n in range(5)]

    async def brought(tenant: str, text: str, document: str) -> None:
        await edge.replace(tenant, "", document, [passage(text, document, tenant=tenant)])

    for tenant in tenants:
        await brought(tenant, f"{TOLL} {tenant}", "d1")
    await edge.tidy()
    for _ in range(2):
        for tenant in tenants:
            assert await texts(edge, "toll", "bm25", tenant=tenant) == [f"{TOLL} {tenant}"]
            assert sum(one.awake for one in edge._own.values()) <= 2
    await asyncio.gather(*(brought(tenant, BRIDGE, "d2") for tenant in tenants))
    found = await asyncio.gather(*(texts(edge, "bridge", "bm25", tenant=tenant) for tenant in tenants))
    assert found == [[BRIDGE]] * 5
    waiting = {(one.tenant, one.document_id) for _ in range(10) for one in await edge.without_dense(10)}
    assert waiting == {(tenant, name) for tenant in tenants for name in ("d1", "d2")}, "each shard has its turn"
    edge.close()


async def test_of_a_tenant_who_has_nothing_any_more_nothing_is_left_on_the_disk(tmp_path: Path) -> None:
    edge = await parting(tmp_path)
    await edge.tidy()
    await edge.clear()
    assert set(edge._own) == {"acme"}
    await edge.remove("acme", "", ["d1"])
    await edge.clear()
    assert not edge._own and not list((tmp_path / "shard.own").iterdir())
    assert await held(edge) == {**MOVED, "acme": []}
    await edge.replace("acme", "", "d1", [passage(TOLL)])
    assert await texts(edge, "toll", "bm25") == [TOLL]
    edge.close()
    (tmp_path / "shard.own" / home_of("acme") / "shard.gone").mkdir(parents=True)  # killed while it was taken away
    edge.open()
    assert await texts(edge, "toll", "bm25") == [TOLL] and not list((tmp_path / "shard.own").iterdir())
    edge.close()


@pytest.mark.parametrize(("owner", "step"), [(EdgeStore, "clear"), (Shard, "flushed"), (Shard, "settle")])
async def test_an_engine_that_fails_beside_the_calls_stops_nothing(
    owner: type, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await parting(tmp_path)
    before, tried = await held(edge), list[str]()

    async def worth_it(_: Shard) -> bool:
        return step == "settle"

    async def failing(*_: Any) -> None:
        tried.append(step)
        raise Exception("Service runtime error: no space left")

    monkeypatch.setattr("services.retrieval.edge.FLUSH_EVERY_S", 0.01)
    monkeypatch.setattr(Shard, "flushed", worth_it)
    monkeypatch.setattr(owner, step, failing)
    async with running(edge.run()):
        await until(lambda: len(tried) >= 2, within_s=90)
        assert await held(edge) == (MOVED if step == "settle" else before)
    assert "no space left" in caplog.text
    edge.close()
