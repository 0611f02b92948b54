"""What every store of passages must do."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
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
from services.retrieval.where import Either, Every, Fact, Number, Where
from tests.peers import pinecone
from tests.peers.qdrant import serving
from tests.support.encoders import minilm_session, static

SERVER = os.environ.get("TOLLWAY_TEST_QDRANT", "")
"""HOST:PORT of a Qdrant server's gRPC port; without one that part is left out."""
STORES = [
    "memory",
    "edge",
    "edge, a shard each",
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
        case "edge, a shard each":
            edge = EdgeStore(tmp_path / "shard", own_from=1, most_awake=1)
            edge.open()
            for tenant in ("acme", "other"):
                await edge.replace(tenant, "", "first", [passage(TOLL, "first", tenant=tenant)])
            await edge.tidy()
            for tenant in ("acme", "other"):
                await edge.remove(tenant, "", ["first"])
            assert set(edge._own) == {"acme", "other"}
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
        "id": passage_id(more.get("tenant", "acme"), more.get("collection", ""), document, f"v1-{text}", 0), "tenant": "acme", "collection": "",
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
    read = await store.passages(scope.get("tenant", "acme"), [hit.id for hit in hits])
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
        "acme", {one.id: vector for one, vector in zip(waiting, vectors, strict=True)} | {passage("x").id: vectors[0]}
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
    found = await store.dense_of("acme", [one.id for one in made])
    assert list(found) == [made[0].id] and np.allclose(found[made[0].id], vector, atol=1e-5)
    assert not await store.passages("other", [one.id for one in made])


YEARS = {"old": {"year": "2024", "lang": "de", "a.b": "-2e3"}, "new": {"year": "2026", "lang": "en"}, "bare": {}}


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        (Fact("year", ("2026",)), {"new"}),
        (Fact("year", ("2024", "2026")), {"old", "new"}),
        (Fact("year", ("2026",), none=True), {"old", "bare"}),
        (Fact("year", ("2024", "2026"), none=True), {"bare"}),
        (Either((Fact("lang", ("de",)), Fact("year", ("2026",)))), {"old", "new"}),
        (Every((Fact("lang", ("de",)), Fact("year", ("2026",)))), set()),
        (Every((Fact("lang", ("en", "de")), Fact("year", ("2024",), none=True))), {"new"}),
        (
            Either(
                (Every((Fact("lang", ("de",)), Fact("year", ("2024",)))), Fact("year", ("2024", "2026"), none=True))
            ),
            {"old", "bare"},
        ),
        (Number("year", gt=2024), {"new"}),
        (Number("year", gte=2024, lt=2026), {"old"}),
        (Number("year", gt=2023.5, lte=2026.0), {"old", "new"}),
        (Number("lang", gt=0), set()),
        (Number("none", gt=0), set()),
        (Either((Number("a.b", lt=-1e3), Fact("lang", ("en",)))), {"old", "new"}),
        (Fact('ye"ar', ('2026" or 1 == 1',)), set()),
    ],
)
async def test_facts_are_asked_for_in_any_way(store: Store, where: Where, seen: set[str]) -> None:
    for name, facts in YEARS.items():
        await store.replace("acme", "", name, [passage(f"{name}: {BRIDGE}", name, attributes=facts)])
    found = await texts(store, "bridge", where=(where,))
    assert {one.partition(":")[0] for one in found} == seen


async def test_no_other_tenant_group_or_collection_sees_it(store: Store) -> None:
    await store.replace("acme", "", "d1", [passage(TOLL, readers=("finance",))])
    await store.replace("acme", "hr", "d2", [passage(BRIDGE, "d2", collection="hr", attributes={"lang": "en"})])
    assert await texts(store, "toll", tenant="other") == []
    assert TOLL not in await texts(store, "toll")
    assert TOLL in await texts(store, "toll", readers=("*", "finance"))
    assert await texts(store, "bridge", collection="hr") == [BRIDGE]
    assert await texts(store, "bridge", collection="hr", where=(Fact("lang", ("de",)),)) == []
    assert await texts(store, "bridge", collection="hr", where=(Fact("lang", ("en",)),)) == [BRIDGE]
