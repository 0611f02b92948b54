"""Passages in the words of Qdrant's own engine: how a shard is laid out, what is filtered by, points and back."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import qdrant_edge as q

from services.retrieval.payload import FILTERED, STATIC, read, written
from services.retrieval.store import Passage, Scope
from services.retrieval.where import Either, Every, Number, Where, place

SEEN_IN, SEEN = "seen_in", "seen"
"""Who may see a passage, for a search of its collection and for one of all: a single look at each passage that a search comes by, in
place of three at its tenant, its collection and its readers. Numbers, since nothing is compared faster."""
PAGE = 500


def created(folder: Path, dimensions: int) -> Any:
    """A new shard, open."""
    folder.mkdir(parents=True)
    shard = q.EdgeShard.create(str(folder), configured(dimensions))
    for name in FILTERED:
        shard.update(q.UpdateOperation.create_field_index(name, q.PayloadSchemaType.Keyword))
    _look_up(shard)
    shard.flush()
    return shard


def configured(dimensions: int) -> Any:
    """Dense vectors are looked through in 8 bits, and the best of them compared whole."""
    quantised = q.ScalarQuantizationConfig(type=q.ScalarType.Int8, always_ram=True)
    vectors = {
        "static": q.EdgeVectorParams(size=STATIC, distance=q.Distance.Cosine),
        "dense": q.EdgeVectorParams(size=dimensions, distance=q.Distance.Cosine, quantization_config=quantised),
    }
    sparse = {"bm25": q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)}
    return q.EdgeConfig(vectors=vectors, sparse_vectors=sparse)


def of_tenants(tenants: Collection[str]) -> Any:
    return q.Filter(must=[q.FieldCondition("tenant", match=q.MatchAny(list(tenants)))])


def of_document(tenant: str, collection: str, document_ids: Sequence[str]) -> Any:
    return q.Filter(
        must=[
            q.FieldCondition("tenant", match=q.MatchValue(tenant)),
            q.FieldCondition("collection", match=q.MatchValue(collection)),
            q.FieldCondition("document_id", match=q.MatchAny(list(document_ids))),
        ]
    )


def facts(one: Passage) -> dict[str, Any]:
    return {**written(one), **seen_by(one.tenant, one.collection, one.readers)}


def seen_by(tenant: str, collection: str, readers: Collection[str]) -> dict[str, list[int]]:
    """Never empty: what has none comes from an earlier release."""
    nobody = [_number(tenant)]
    return {
        SEEN_IN: [_number(tenant, collection, reader) for reader in readers] or nobody,
        SEEN: [_number(tenant, reader) for reader in readers] or nobody,
    }


@lru_cache(10_000)
def _number(*names: str) -> int:
    """63 bits of a digest. Where two were alike, a search would find what it may not see, and drop it when it is read."""
    return int.from_bytes(blake2b(orjson.dumps(names), digest_size=8).digest()) >> 1


def all_seen(shard: Any) -> bool:
    """Whether each passage says who may see it, and can be found by that."""
    known = shard.info().payload_schema
    return SEEN in known and SEEN_IN in known and shard.count(q.CountRequest(exact=True, filter=_WITHOUT)) == 0


def catch_up(shard: Any) -> None:
    """Has each passage that an earlier release wrote say who may see it."""
    if all_seen(shard):
        return
    offset = None
    while True:
        request = q.ScrollRequest(offset, PAGE, with_payload=True, with_vector=False)
        found, offset = shard.scroll(request)
        groups: dict[tuple[Any, ...], list[Any]] = {}
        for one in found:
            if SEEN not in one.payload:
                told = one.payload["tenant"], one.payload["collection"], tuple(one.payload["readers"])
                groups.setdefault(told, []).append(one.id)
        for told, ids in groups.items():
            shard.update(q.UpdateOperation.set_payload(ids, seen_by(*told)))
        if offset is None:
            break
    _look_up(shard)


def _look_up(shard: Any) -> None:
    for name in {SEEN, SEEN_IN} - set(shard.info().payload_schema):
        shard.update(q.UpdateOperation.create_field_index(name, q.IntegerIndexParams(lookup=True, range=False)))


_WITHOUT = q.Filter(must=[q.IsEmptyCondition(SEEN)])


def within(scope: Scope, *, keyed: bool, waiting: bool = False) -> Any:
    """`keyed` where [all_seen][services.retrieval.points.all_seen] holds of the shard."""
    if keyed:
        name, place = (SEEN_IN, (scope.collection,)) if scope.collection else (SEEN, ())
        may = [_number(scope.tenant, *place, reader) for reader in scope.readers]
        must = [q.FieldCondition(name, match=q.MatchAny(may))]
    else:
        must = [
            q.FieldCondition("tenant", match=q.MatchValue(scope.tenant)),
            q.FieldCondition("readers", match=q.MatchAny(list(scope.readers))),
        ]
        if scope.collection:
            must.append(q.FieldCondition("collection", match=q.MatchValue(scope.collection)))
    must += map(_facts, scope.where)
    if waiting:
        must.append(q.FieldCondition("dense", match=q.MatchValue("no")))
    return q.Filter(must=must)  # type: ignore[arg-type]


def _facts(where: Where) -> Any:
    match where:
        case Every():
            return q.Filter(must=[_facts(one) for one in where.parts])
        case Either():
            return q.Filter(should=[_facts(one) for one in where.parts])
        case Number():
            return q.FieldCondition(f"numbers.{place(where.name)}", range=q.RangeFloat(**where.bounds))
    fact = q.FieldCondition("attributes", match=q.MatchAny(where.pairs))
    return q.Filter(must_not=[fact]) if where.none else fact


def passage(point: Any) -> Passage:
    vectors = point.vector if isinstance(point.vector, dict) else {}
    return read(str(point.id), point.payload, vectors.get("static"), vectors.get("dense"))
