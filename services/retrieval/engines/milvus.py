"""Milvus: one collection, the tenant as partition key, BM25 by Milvus's own function over what is searched."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException

from services.retrieval.documents import Key
from services.retrieval.payload import DENSE, STATIC, pairs, read, written
from services.retrieval.store import Found, Hit, Passage, Question, Scope, StoreAway, Vector
from services.retrieval.where import Either, Every, Number, Where, place

T = TypeVar("T")
NAMES = ("tenant", "collection", "document_id", "version")
LONGEST_TEXT = 65_535
"""Bytes of what Milvus keeps as text."""
MOST_OF_DOCUMENT, AT_ONCE = 16_384, 256
SHOWN = ["payload"]
WHOLE = ["id", *NAMES, "readers", "attributes", "ordinal", "followed", "searched", "payload", "static", "dense"]
SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(slots=True)
class MilvusEngine:
    """Its client is blocking, and works in threads. A Milvus that is away is waited for by it, for its own time."""

    client: MilvusClient
    collection: str = "tollway_retrieval"
    dimensions: int = DENSE
    """Of dense vectors."""
    ways: frozenset[str] = frozenset({"bm25", "static", "dense"})

    async def open(self) -> None:
        """Makes the collection and its indexes, where they are missing."""
        await self._told(self._opened)

    def _opened(self) -> None:
        if not self.client.has_collection(self.collection):
            schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
            for name in NAMES:
                schema.add_field(name, DataType.VARCHAR, max_length=1024, is_partition_key=name == "tenant")
            for name in ("readers", "attributes"):
                schema.add_field(name, DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=512, max_length=4096)
            schema.add_field("ordinal", DataType.INT64)
            schema.add_field("followed", DataType.BOOL)
            schema.add_field("payload", DataType.JSON)
            schema.add_field("searched", DataType.VARCHAR, max_length=LONGEST_TEXT, enable_analyzer=True)
            schema.add_field("static", DataType.FLOAT_VECTOR, dim=STATIC)
            schema.add_field("dense", DataType.FLOAT_VECTOR, dim=self.dimensions)
            schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(Function("bm25", FunctionType.BM25, ["searched"], ["words"]))
            indexes = MilvusClient.prepare_index_params()
            for name in ("static", "dense"):
                indexes.add_index(name, index_type="AUTOINDEX", metric_type="COSINE")
            indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
            self.client.create_collection(
                self.collection, schema=schema, index_params=indexes, consistency_level="Strong"
            )
        self.client.load_collection(self.collection)

    async def of_document(self, key: Key, *, between: tuple[int, int] | None = None) -> Sequence[Passage]:
        chosen = _document(key)
        if between is not None:
            chosen += f" and ordinal >= {between[0]} and ordinal <= {between[1]}"
        return list(map(_read, await self._rows(chosen, MOST_OF_DOCUMENT)))

    async def put(self, passages: Sequence[Passage]) -> None:
        for start in range(0, len(passages), AT_ONCE):
            rows = [_row(one, self.dimensions) for one in passages[start : start + AT_ONCE]]
            await self._told(lambda rows=rows: self.client.upsert(self.collection, rows))  # type: ignore[misc]

    async def prune(self, key: Key, version: str) -> None:
        chosen = _document(key) + (f" and version != {json.dumps(version)}" if version else "")
        await self._told(lambda: self.client.delete(self.collection, filter=chosen))

    async def add_dense(self, vectors: Mapping[str, Vector]) -> None:
        rows = await self._rows(f"id in {json.dumps(list(vectors))}", len(vectors))
        for row in rows:
            payload = {**row["payload"], "dense": "yes"}
            row |= {"dense": vectors[row["id"]].tolist(), "followed": True, "payload": payload}
        if rows:
            await self._told(lambda: self.client.upsert(self.collection, rows))

    async def without_dense(self, most: int) -> Sequence[Passage]:
        return list(map(_read, await self._rows("followed == false", most)))

    async def passages(self, ids: Sequence[str]) -> Mapping[str, Passage]:
        found = await self._told(
            lambda: self.client.query(
                self.collection, filter=f"id in {json.dumps(list(ids))}", output_fields=SHOWN, limit=max(len(ids), 1)
            )
        )
        return {row["id"]: read(row["id"], row["payload"]) for row in found}

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        found = await self._rows(f"id in {json.dumps(list(ids))}", max(len(ids), 1))
        return {one.id: one.dense for one in map(_read, found) if one.dense is not None}

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        asked: dict[str, tuple[Any, str, str]] = {}
        if question.text:
            asked["bm25"] = (question.text, "words", "")
        if question.static is not None:
            left = "" if question.dense is None else " and followed == false"
            asked["static"] = (question.static.tolist(), "static", left)
        if question.dense is not None:
            asked["dense"] = (question.dense.tolist(), "dense", " and followed == true")
        chosen = _scope(scope)

        def one(query: Any, field: str, more: str) -> list[Hit]:
            (found,) = self.client.search(
                self.collection, data=[query], anns_field=field, filter=chosen + more, limit=most, output_fields=SHOWN,
                search_params={"metric_type": "BM25" if field == "words" else "COSINE"},
            )  # fmt: skip
            return [Hit(hit["id"], float(hit["distance"]), read(hit["id"], hit["entity"]["payload"])) for hit in found]

        answers = await asyncio.gather(*(self._told(lambda say=say: one(*say)) for say in asked.values()))  # type: ignore[misc]
        return dict(zip(asked, answers, strict=True))

    async def drop(self) -> None:
        await self._told(lambda: self.client.drop_collection(self.collection))

    async def _rows(self, chosen: str, most: int) -> list[dict[str, Any]]:
        found = await self._told(
            lambda: self.client.query(self.collection, filter=chosen, output_fields=WHOLE, limit=most)
        )
        return [{**row, "readers": list(row["readers"]), "attributes": list(row["attributes"])} for row in found]

    async def _told(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except MilvusException:
            raise StoreAway from None


def _row(one: Passage, dimensions: int) -> dict[str, Any]:
    """Milvus has every vector of a row or none: zeros stand where a dense one is not there yet, and `followed` tells."""
    return {
        "id": one.id,
        **{name: getattr(one, name) for name in NAMES},
        "readers": list(one.readers),
        "attributes": pairs(one.attributes),
        "ordinal": one.ordinal,
        "followed": one.dense is not None,
        "payload": written(one),
        "searched": one.searched.encode()[:LONGEST_TEXT].decode(errors="ignore"),
        "static": one.static.tolist(),
        "dense": [0.0] * dimensions if one.dense is None else one.dense.tolist(),
    }


def _read(row: Mapping[str, Any]) -> Passage:
    return read(row["id"], row["payload"], row["static"], row["dense"])


def _document(key: Key) -> str:
    return " and ".join(f"{name} == {json.dumps(value)}" for name, value in zip(NAMES, key, strict=False))


def _scope(scope: Scope) -> str:
    """JSON's strings are Milvus's: nothing that a caller says ends one."""
    parts = [f"tenant == {json.dumps(scope.tenant)}", f"ARRAY_CONTAINS_ANY(readers, {json.dumps(list(scope.readers))})"]
    if scope.collection:
        parts.append(f"collection == {json.dumps(scope.collection)}")
    parts += map(_facts, scope.where)
    return " and ".join(parts)


def _facts(where: Where) -> str:
    match where:
        case Every():
            return f"({' and '.join(map(_facts, where.parts))})"
        case Either():
            return f"({' or '.join(map(_facts, where.parts))})"
        case Number():
            at = f'payload["numbers"]["{place(where.name)}"]'
            return f"({' and '.join(f'{at} {SIGNS[name]} {bound!r}' for name, bound in where.bounds.items())})"
    fact = f"ARRAY_CONTAINS_ANY(attributes, {json.dumps(where.pairs)})"
    return f"not ({fact})" if where.none else fact
