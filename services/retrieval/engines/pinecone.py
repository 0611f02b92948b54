"""Pinecone: an index for static vectors, in which every passage stands, and one for dense ones.

It has no BM25 that keeps its own IDF, so words are no way of searching here; and a write is seen by searches a moment after it was
taken, as Pinecone's documentation says.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pinecone import AsyncIndex
from pinecone.errors import PineconeError

from services.retrieval.documents import Key
from services.retrieval.payload import read, written
from services.retrieval.store import Found, Hit, Passage, Question, Scope, StoreAway, Vector
from services.retrieval.where import Either, Every, Number, Where, place

T = TypeVar("T")
AT_ONCE, PAGE = 100, 100
Filter = dict[str, Any]
NUMBERS = "number."
"""Begins the names of facts that are numbers: metadata is flat."""


@dataclass(slots=True)
class PineconeEngine:
    static: AsyncIndex
    """Of 256 dimensions, cosine."""
    dense: AsyncIndex
    """Of 384 dimensions, cosine."""
    ways: frozenset[str] = frozenset({"static", "dense"})

    async def of_document(self, key: Key, *, between: tuple[int, int] | None = None) -> Sequence[Passage]:
        chosen = _document(key)
        if between is not None:
            chosen["ordinal"] = {"$gte": between[0], "$lte": between[1]}
        found = [one async for one in self._all(self.static, chosen)]
        vectors = await self.dense_of([one.id for one in found]) if between is None else {}
        return [read(one.id, one.metadata, one.values, vectors.get(one.id)) for one in found]

    async def put(self, passages: Sequence[Passage]) -> None:
        for start in range(0, len(passages), AT_ONCE):
            part = passages[start : start + AT_ONCE]
            followed = [(one.id, one.dense.tolist(), _written(one)) for one in part if one.dense is not None]
            if followed:  # before what says that it is there
                await _told(self.dense.upsert(vectors=followed, show_progress=False))
            every = [(one.id, one.static.tolist(), _written(one)) for one in part]
            await _told(self.static.upsert(vectors=every, show_progress=False))

    async def prune(self, key: Key, version: str) -> None:
        chosen = _document(key) | ({"version": {"$ne": version}} if version else {})
        await _told(self.static.delete(filter=chosen))
        await _told(self.dense.delete(filter=chosen))

    async def add_dense(self, vectors: Mapping[str, Vector]) -> None:
        found = (await _told(self.static.fetch(ids=list(vectors)))).vectors
        made = [(one, vectors[one].tolist(), {**(kept.metadata or {}), "dense": "yes"}) for one, kept in found.items()]
        if made:
            await _told(self.dense.upsert(vectors=made, show_progress=False))
        for one in found:
            await _told(self.static.update(id=one, set_metadata={"dense": "yes"}))

    async def without_dense(self, most: int) -> Sequence[Passage]:
        made: list[Passage] = []
        async for one in self._all(self.static, {"dense": {"$eq": "no"}}):
            made.append(read(one.id, one.metadata, one.values))
            if len(made) == most:
                break
        return made

    async def passages(self, ids: Sequence[str]) -> Mapping[str, Passage]:
        found = (await _told(self.static.fetch(ids=list(ids)))).vectors if ids else {}
        return {one: read(one, kept.metadata or {}) for one, kept in found.items()}

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        made: dict[str, Vector] = {}
        for start in range(0, len(ids), AT_ONCE):
            found = (await _told(self.dense.fetch(ids=list(ids[start : start + AT_ONCE])))).vectors
            kept = (read(one, each.metadata or {}, None, each.values) for one, each in found.items())
            made |= {one.id: one.dense for one in kept if one.dense is not None}
        return made

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        asked: dict[str, tuple[AsyncIndex, Vector]] = {}
        if question.static is not None:
            asked["static"] = (self.static, question.static)
        if question.dense is not None:
            asked["dense"] = (self.dense, question.dense)
        left: list[Filter] = [] if question.dense is None else [{"dense": {"$eq": "no"}}]
        made: dict[str, list[Hit]] = {}
        for way, (index, vector) in asked.items():
            answer = await _told(
                index.query(
                    vector=vector.tolist(),
                    top_k=most,
                    filter=_scope(scope, left if way == "static" else []),
                    include_metadata=True,
                )
            )
            made[way] = [Hit(one.id, float(one.score), read(one.id, one.metadata or {})) for one in answer.matches]
        return made

    async def drop(self) -> None:
        await _told(self.static.delete(delete_all=True))
        await _told(self.dense.delete(delete_all=True))

    async def _all(self, index: AsyncIndex, chosen: Filter) -> Any:
        """Every record that a filter admits, page by page."""
        token: str | None = None
        while True:
            page = await _told(index.fetch_by_metadata(filter=chosen, limit=PAGE, pagination_token=token))
            for one in page.vectors.values():
                yield one
            token = page.pagination.next if page.pagination else None
            if not token:
                return


def _document(key: Key) -> Filter:
    return {name: {"$eq": value} for name, value in zip(("tenant", "collection", "document_id"), key, strict=True)}


def _scope(scope: Scope, more: list[Filter]) -> Filter:
    parts: list[Filter] = [*more, {"tenant": {"$eq": scope.tenant}}, {"readers": {"$in": list(scope.readers)}}]
    if scope.collection:
        parts.append({"collection": {"$eq": scope.collection}})
    parts += map(_facts, scope.where)
    return {"$and": parts}


def _written(one: Passage) -> dict[str, Any]:
    made = written(one)
    return made | {f"{NUMBERS}{name}": number for name, number in made.pop("numbers", {}).items()}


def _facts(where: Where) -> Filter:
    match where:
        case Every():
            return {"$and": [_facts(one) for one in where.parts]}
        case Either():
            return {"$or": [_facts(one) for one in where.parts]}
        case Number():
            return {f"{NUMBERS}{place(where.name)}": {f"${name}": bound for name, bound in where.bounds.items()}}
    return {"attributes": {"$nin" if where.none else "$in": where.pairs}}


async def _told(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except (PineconeError, OSError):
        raise StoreAway from None
