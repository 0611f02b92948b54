"""What every store of passages must do."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import qdrant_edge as q
from pinecone import AsyncIndex
from pymilvus import MilvusClient
from qdrant_client import AsyncQdrantClient

from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.edge import EdgeStore
from services.retrieval.engines import Snapshot
from services.retrieval.engines.milvus import MilvusEngine
from services.retrieval.engines.pinecone import PineconeEngine
from services.retrieval.engines.qdrant import QdrantEngine
from services.retrieval.memory import MemoryStore
from services.retrieval.store import Passage, Question, Scope, Store, passage_id
from tests.peers import pinecone
from tests.peers.qdrant import serving
from tests.support.encoders import minilm_session, static

SERVER = os.environ.get("TOLLWAY_TEST_QDRANT", "")
"""HOST:PORT of a Qdrant server's gRPC port; without one that part is left out."""
STORES = [
    "memory",
    "edge",
    "qdrant",
    "milvus",
    "pinecone",
    pytest.param("server", marks=pytest.mark.skipif(not SERVER, reason="TOLLWAY_TEST_QDRANT names no server")),
]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    match request.param:
        case "memory":
            yield MemoryStore()
        case "edge":
            edge = EdgeStore(tmp_path / "shard")
            edge.open()
            yield edge
            edge.close()
        case "qdrant":
            async with serving() as port, qdrant("127.0.0.1", port) as made:
                yield made
        case "milvus":
            client = MilvusClient(str(tmp_path / "milvus.db"))
            milvus = MilvusEngine(client)
            await milvus.open()
            await milvus.open()
            yield Snapshot(milvus, MemoryCatalogue())
            client.close()
        case "pinecone":
            async with (
                pinecone.serving(256) as one, pinecone.serving(384) as other,
                AsyncIndex(host=one, api_key="key") as static_index, AsyncIndex(host=other, api_key="key") as dense_index,
            ):  # fmt: skip
                yield Snapshot(PineconeEngine(static_index, dense_index), MemoryCatalogue())
        case "server":
            host, _, named = SERVER.rpartition(":")
            async with qdrant(host, int(named)) as made:
                yield made


@asynccontextmanager
async def qdrant(host: str, port: int) -> AsyncIterator[Store]:
    client = AsyncQdrantClient(host=host, grpc_port=port, prefer_grpc=True, check_compatibility=False)
    engine = QdrantEngine(client, f"test-{uuid4().hex}")
    await engine.open()
    await engine.open()  # what is there already is no trouble
    yield Snapshot(engine, MemoryCatalogue())
    await client.delete_collection(engine.collection)
    await client.close()


def passage(text: str, document: str = "d1", **more: Any) -> Passage:
    facts: dict[str, Any] = {
        "id": passage_id("acme", more.get("collection", ""), document, f"v1-{text}", 0), "tenant": "acme", "collection": "",
        "document_id": document, "version": "v1", "title": "T", "uri": "u", "text": text, "header": "", "start": 0,
        "end": len(text), "digest": text, "readers": ("*",), "attributes": {}, "indexed": 1.0,
        "static": static().encode(text),
    }  # fmt: skip
    return Passage(**{**facts, **more})


def question(text: str) -> Question:
    return Question(text, static().encode(text), np.asarray(minilm_session().run([text])[0]))


async def texts(store: Store, text: str, way: str = "static", **scope: Any) -> list[str]:
    found = await store.search(question(text), Scope(**{"tenant": "acme", **scope}), 10)
    hits = found.get(way, ())
    read = await store.passages([hit.id for hit in hits])
    return [read[hit.id].text for hit in hits]


TOLL, BRIDGE = "The toll for lorries is nine crowns.", "The bridge closes at night."


async def test_words_and_vectors_find_what_fits(store: Store) -> None:
    await store.replace("acme", "", "d1", [passage(TOLL), passage(BRIDGE)])
    if "bm25" in store.ways:
        assert (await texts(store, "what do lorries pay", "bm25"))[0] == TOLL
    assert (await texts(store, "when is the bridge shut"))[0] == BRIDGE
    assert not await texts(store, "lorries", "dense")


async def test_dense_vectors_follow(store: Store) -> None:
    await store.replace("acme", "", "d1", [passage(TOLL), passage(BRIDGE)])
    waiting = await store.without_dense(10)
    assert {one.text for one in waiting} == {TOLL, BRIDGE}
    vectors = minilm_session().run([one.text for one in waiting])
    await store.add_dense(
        {one.id: vector for one, vector in zip(waiting, vectors, strict=True)} | {passage("x").id: vectors[0]}
    )
    assert not await store.without_dense(10)
    assert (await texts(store, "price for a truck", "dense"))[0] == TOLL


async def test_replacing_leaves_nothing_of_the_old(store: Store) -> None:
    await store.replace("acme", "", "d1", [passage(TOLL), passage(BRIDGE)])
    await store.replace("acme", "", "d1", [passage(TOLL, version="v2")])
    assert [one.text for one in await store.of_document("acme", "", "d1")] == [TOLL]
    assert await texts(store, "bridge") == [TOLL]


async def test_removing_counts_documents(store: Store) -> None:
    await store.replace("acme", "", "d1", [passage(TOLL), passage(BRIDGE)])
    await store.replace("acme", "", "d2", [passage(TOLL, "d2")])
    assert await store.remove("acme", "", ["d1", "unheard-of"]) == 1
    assert {one.document_id for one in await store.of_document("acme", "", "d2")} == {"d2"}
    assert len(await texts(store, "toll")) == 1


async def test_what_stands_around_a_passage(store: Store) -> None:
    texts = [f"Place {n} of the text." for n in range(6)]
    made = [passage(text, id=passage_id("acme", "", "d1", "v1", n), ordinal=n) for n, text in enumerate(texts)]
    await store.replace("acme", "", "d1", made)
    assert [one.text for one in await store.around(made[3], 1)] == texts[2:5]
    assert [one.text for one in await store.around(made[0], 2)] == texts[:3]


async def test_vectors_of_passages_by_id(store: Store) -> None:
    vector = np.asarray(minilm_session().run([TOLL])[0])
    made = [passage(TOLL, dense=vector, followed=True), passage(BRIDGE)]
    await store.replace("acme", "", "d1", made)
    found = await store.dense_of([one.id for one in made])
    assert list(found) == [made[0].id] and np.allclose(found[made[0].id], vector, atol=1e-5)


async def test_no_other_tenant_group_or_collection_sees_it(store: Store) -> None:
    await store.replace("acme", "", "d1", [passage(TOLL, readers=("finance",))])
    await store.replace("acme", "hr", "d2", [passage(BRIDGE, "d2", collection="hr", attributes={"lang": "en"})])
    assert await texts(store, "toll", tenant="other") == []
    assert TOLL not in await texts(store, "toll")
    assert TOLL in await texts(store, "toll", readers=("*", "finance"))
    assert await texts(store, "bridge", collection="hr") == [BRIDGE]
    assert await texts(store, "bridge", collection="hr", attributes={"lang": "de"}) == []
    assert await texts(store, "bridge", collection="hr", attributes={"lang": "en"}) == [BRIDGE]


async def test_graphs_are_built_aside_while_the_shard_changes(tmp_path: Path) -> None:
    """What comes, changes and goes while the copy is worked on is in the shard that takes its place."""
    edge = EdgeStore(tmp_path / "shard")
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
    tidying = asyncio.create_task(edge.tidy())
    for n in range(20):
        await edge.replace("acme", "", f"d{n}", some(f"d{n}", "v2", 10))
        await edge.remove("acme", "", [f"d{n + 100}"])
        await edge.replace("acme", "", f"new{n}", some(f"new{n}", "v1", 5))
        assert await texts(edge, f"d{n} v2", "bm25")
        await asyncio.sleep(0.02)
    await tidying
    for store in (edge, EdgeStore(tmp_path / "shard")):
        if store is not edge:
            edge.close()
            store.open()
        counts = {name: len(await store.of_document("acme", "", name)) for name in ("d0", "d50", "d100", "new0", "d19")}
        assert counts == {"d0": 10, "d50": 20, "d100": 0, "new0": 5, "d19": 10}
        kept = await store.of_document("acme", "", "d60")
        question = Question("", None, kept[3].dense)
        assert (await store.search(question, Scope("acme"), 3))["dense"][0].id == kept[3].id
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] == ["shard"]
    store.close()


@pytest.mark.parametrize("after", [0, 1])
async def test_a_replacement_that_broke_off_leaves_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Before the new passages are in, the old version stands; after that, the new one: on the next start, and before that too."""
    edge, done = EdgeStore(tmp_path / "shard"), list[object]()
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL, ordinal=0), passage(BRIDGE, ordinal=1)])
    whole = EdgeStore._update

    def breaking(store: EdgeStore, operation: object) -> None:
        if len(done) == after:
            raise OSError("no power")
        done.append(operation)
        whole(store, operation)

    new = [passage("Bridges cost nothing.", version="v2", id=passage_id("acme", "", "d1", "v2", 0))]
    with monkeypatch.context() as broken:
        broken.setattr(EdgeStore, "_update", breaking)
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
    def plain(store: EdgeStore) -> Any:
        sizes = {"static": 256, "dense": 384}
        vectors = {name: q.EdgeVectorParams(size=size, distance=q.Distance.Cosine) for name, size in sizes.items()}
        words = q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)
        return q.EdgeConfig(vectors=vectors, sparse_vectors={"bm25": words})

    chance = np.random.default_rng(2)
    vectors = chance.normal(size=(8000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    one = passage(TOLL, followed=True)
    with monkeypatch.context() as before:
        before.setattr(EdgeStore, "_config", plain)
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


async def test_a_shard_that_is_dropped_while_its_graphs_are_built_stays_dropped(tmp_path: Path) -> None:
    edge = EdgeStore(tmp_path / "shard")
    edge.open()
    await edge.replace("acme", "", "d1", [passage(TOLL)])
    tidying = asyncio.create_task(edge.tidy())
    await asyncio.sleep(0.05)
    await edge.drop()
    await tidying
    edge.close()
    assert list(tmp_path.iterdir()) == []
