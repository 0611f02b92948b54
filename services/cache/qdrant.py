"""A Qdrant server or cluster over gRPC: one collection, the tenant as keyed payload index."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from services.cache.payload import DIMENSIONS, numbers, read, written
from services.cache.store import Entry, Hopeful, Selection, StoreAway, Vector

T = TypeVar("T")
TROUBLE = (ApiException, ResponseHandlingException, UnexpectedResponse, grpc.RpcError, OSError)


@dataclass(slots=True)
class QdrantStore:
    client: AsyncQdrantClient
    collection: str = "tollway-cache"
    key: bytes = field(default=b"", repr=False)

    async def open(self) -> None:
        """Makes the collection and its indexes, where they are missing."""
        if not await _told(self.client.collection_exists(self.collection)):
            vectors = models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE, on_disk=True)
            quantised = models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            )
            hnsw = models.HnswConfigDiff(payload_m=16, m=0)  # a graph for each scope, none across them
            await _told(
                self.client.create_collection(
                    self.collection, vectors_config=vectors, quantization_config=quantised, hnsw_config=hnsw
                )
            )
        for name in ("scope", "tenant", "tags", "model"):
            keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=name == "scope")
            await _told(self.client.create_payload_index(self.collection, name, keyword))
        await _told(self.client.create_payload_index(self.collection, "stored", models.PayloadSchemaType.FLOAT))

    async def get(self, entry_id: str) -> Entry | None:
        found = await _told(self.client.retrieve(self.collection, [entry_id], with_payload=True, with_vectors=True))
        return read(entry_id, found[0].payload, found[0].vector, self.key) if found else None

    async def nearest(
        self, scope: str, vector: Vector, most: int, least: float, hopes: Hopeful | None = None
    ) -> Sequence[tuple[Entry, float]]:
        answer = await _told(
            self.client.query_points(
                self.collection,
                query=vector.tolist(),
                query_filter=_must(scope=scope),
                limit=most,
                score_threshold=least,
                with_payload=True,
                with_vectors=True,
            )
        )
        found = [(read(str(one.id), one.payload, one.vector, self.key), one.score) for one in answer.points]
        return [(entry, score) for entry, score in found if entry is not None]

    async def put(self, entry: Entry) -> None:
        point = models.PointStruct(id=entry.id, vector=numbers(entry), payload=written(entry, self.key))
        await _told(self.client.upsert(self.collection, [point], wait=True))

    async def drop(self, selection: Selection) -> int:
        chosen = _must(tenant=selection.tenant, tags=selection.tag, model=selection.model)
        if selection.stored_before:
            older = models.FieldCondition(key="stored", range=models.Range(lt=selection.stored_before))
            chosen = models.Filter(must=[*(chosen.must or ()), older])
        gone = await _told(self.client.count(self.collection, count_filter=chosen, exact=True))
        await _told(self.client.delete(self.collection, models.FilterSelector(filter=chosen), wait=True))
        return gone.count

    async def remove(self, ids: Sequence[str]) -> None:
        await _told(self.client.delete(self.collection, models.PointIdsList(points=list(ids)), wait=True))

    async def oldest(self, most: int) -> Sequence[Entry]:
        records, _ = await _told(
            self.client.scroll(self.collection, limit=most, order_by=models.OrderBy(key="stored"), with_payload=True)
        )
        found = [read(str(one.id), one.payload, None, self.key) for one in records]
        return [entry for entry in found if entry is not None]

    async def count(self) -> int:
        return (await _told(self.client.count(self.collection, exact=False))).count


def _must(**keys: str) -> models.Filter:
    return models.Filter(
        must=[models.FieldCondition(key=k, match=models.MatchValue(value=v)) for k, v in keys.items() if v]
    )


async def _told(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except TROUBLE:
        raise StoreAway from None
