"""A Qdrant server or cluster over gRPC: one collection, the tenant as keyed payload index, BM25 as sparse vectors whose IDF the server keeps."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from services.retrieval.documents import Key
from services.retrieval.payload import DENSE, FILTERED, STATIC, read, written
from services.retrieval.store import Found, Hit, Passage, Question, Scope, StoreAway, Vector
from services.retrieval.where import Either, Every, Number, Where, place
from services.retrieval.words import bm25

T = TypeVar("T")
TROUBLE = (ApiException, ResponseHandlingException, UnexpectedResponse, grpc.RpcError, OSError)
MOST_OF_DOCUMENT, AT_ONCE = 100_000, 256
WAITING = models.FieldCondition(key="dense", match=models.MatchValue(value="no"))
"""For its dense vector."""


@dataclass(slots=True)
class QdrantEngine:
    client: AsyncQdrantClient
    collection: str = "tollway-retrieval"
    dimensions: int = DENSE
    """Of dense vectors."""
    ways: frozenset[str] = frozenset({"bm25", "static", "dense"})
    _words: Any = field(default_factory=bm25)

    async def open(self) -> None:
        """Makes the collection and its indexes, where they are missing."""
        if not await _told(self.client.collection_exists(self.collection)):
            cosine = models.Distance.COSINE
            vectors = {
                "static": models.VectorParams(size=STATIC, distance=cosine, on_disk=True),
                "dense": models.VectorParams(size=self.dimensions, distance=cosine, on_disk=True),
            }
            sparse = {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}
            quantised = models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            )
            hnsw = models.HnswConfigDiff(payload_m=16, m=0)  # a graph for each tenant, none across them
            await _told(
                self.client.create_collection(
                    self.collection, vectors_config=vectors, sparse_vectors_config=sparse, hnsw_config=hnsw,
                    quantization_config=quantised,
                )
            )  # fmt: skip
        for name in FILTERED:
            keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=name == "tenant")
            await _told(self.client.create_payload_index(self.collection, name, keyword))
        await _told(self.client.create_payload_index(self.collection, "ordinal", models.PayloadSchemaType.INTEGER))

    async def of_document(self, key: Key, *, between: tuple[int, int] | None = None) -> Sequence[Passage]:
        chosen = _document(key)
        if between is not None:
            chosen.append(models.FieldCondition(key="ordinal", range=models.Range(gte=between[0], lte=between[1])))
        return await self._scrolled(models.Filter(must=chosen), MOST_OF_DOCUMENT, vectors=between is None)

    async def put(self, passages: Sequence[Passage]) -> None:
        for start in range(0, len(passages), AT_ONCE):
            points = [self._point(one) for one in passages[start : start + AT_ONCE]]
            await _told(self.client.upsert(self.collection, points, wait=True))

    async def prune(self, key: Key, version: str) -> None:
        other: list[models.Condition] = []
        if version:
            other.append(models.FieldCondition(key="version", match=models.MatchValue(value=version)))
        gone = models.Filter(must=_document(key), must_not=other)
        await _told(self.client.delete(self.collection, models.FilterSelector(filter=gone), wait=True))

    async def add_dense(self, vectors: Mapping[str, Vector]) -> None:
        found = await _told(self.client.retrieve(self.collection, list(vectors), with_payload=False))
        known: list[Any] = [str(one.id) for one in found]
        if not known:
            return
        made = [models.PointVectors(id=one, vector={"dense": vectors[str(one)].tolist()}) for one in known]
        await _told(self.client.update_vectors(self.collection, made, wait=True))
        await _told(self.client.set_payload(self.collection, {"dense": "yes"}, known, wait=True))

    async def without_dense(self, most: int) -> Sequence[Passage]:
        return await self._scrolled(models.Filter(must=[WAITING]), most, vectors=True)

    async def passages(self, ids: Sequence[str]) -> Mapping[str, Passage]:
        found = await _told(self.client.retrieve(self.collection, list(ids), with_payload=True))
        return {one.id: one for one in map(_read, found)}

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        found = await _told(self.client.retrieve(self.collection, list(ids), with_payload=True, with_vectors=["dense"]))
        return {one.id: one.dense for one in map(_read, found) if one.dense is not None}

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        asked: dict[str, Any] = {}
        if question.text:
            words = self._words.embed_query(question.text)
            asked["bm25"] = models.SparseVector(indices=list(words.indices), values=list(words.values))
        if question.static is not None:
            asked["static"] = question.static.tolist()
        if question.dense is not None:
            asked["dense"] = question.dense.tolist()
        chosen, left = _scope(scope), _scope(scope)
        if question.dense is not None and isinstance(left.must, list):
            left.must.append(WAITING)
        requests = [
            models.QueryRequest(
                query=query, using=way, filter=left if way == "static" else chosen, limit=most, with_payload=True
            )
            for way, query in asked.items()
        ]
        answers = await _told(self.client.query_batch_points(self.collection, requests))
        return {
            way: [Hit(str(one.id), float(one.score), _read(one)) for one in answer.points]
            for way, answer in zip(asked, answers, strict=True)
        }

    async def drop(self) -> None:
        await _told(self.client.delete_collection(self.collection))

    async def _scrolled(self, chosen: models.Filter, most: int, *, vectors: bool) -> list[Passage]:
        made: list[Passage] = []
        offset: Any = None
        while len(made) < most:
            found, offset = await _told(
                self.client.scroll(
                    self.collection, scroll_filter=chosen, limit=min(AT_ONCE, most - len(made)), offset=offset,
                    with_payload=True, with_vectors=["static", "dense"] if vectors else False,
                )
            )  # fmt: skip
            made += map(_read, found)
            if offset is None:
                break
        return made

    def _point(self, one: Passage) -> models.PointStruct:
        words = self._words.embed_document(one.searched)
        vectors: dict[str, Any] = {
            "static": one.static.tolist(),
            "bm25": models.SparseVector(indices=list(words.indices), values=list(words.values)),
        }
        if one.dense is not None:
            vectors["dense"] = one.dense.tolist()
        return models.PointStruct(id=one.id, vector=vectors, payload=written(one))


def _document(key: Key) -> list[models.Condition]:
    return [
        models.FieldCondition(key=name, match=models.MatchValue(value=value))
        for name, value in zip(("tenant", "collection", "document_id"), key, strict=True)
    ]


def _scope(scope: Scope) -> models.Filter:
    must: list[models.Condition] = [
        models.FieldCondition(key="tenant", match=models.MatchValue(value=scope.tenant)),
        models.FieldCondition(key="readers", match=models.MatchAny(any=list(scope.readers))),
    ]
    if scope.collection:
        must.append(models.FieldCondition(key="collection", match=models.MatchValue(value=scope.collection)))
    must += map(_facts, scope.where)
    return models.Filter(must=must)


def _facts(where: Where) -> models.Condition:
    match where:
        case Every():
            return models.Filter(must=[_facts(one) for one in where.parts])
        case Either():
            return models.Filter(should=[_facts(one) for one in where.parts])
        case Number():
            return models.FieldCondition(key=f"numbers.{place(where.name)}", range=models.Range(**where.bounds))
    fact = models.FieldCondition(key="attributes", match=models.MatchAny(any=where.pairs))
    return models.Filter(must_not=[fact]) if where.none else fact


def _read(point: Any) -> Passage:
    vectors = point.vector if isinstance(point.vector, dict) else {}
    return read(str(point.id), point.payload, vectors.get("static"), vectors.get("dense"))


async def _told(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except TROUBLE:
        raise StoreAway from None
