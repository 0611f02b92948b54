"""Passages in the words of Qdrant's own engine: how a shard is laid out, what is filtered by, points and back."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as q

from services.retrieval.payload import FILTERED, STATIC, pairs, read
from services.retrieval.store import Passage, Scope


def created(folder: Path, dimensions: int) -> Any:
    """A new shard, open."""
    folder.mkdir(parents=True)
    shard = q.EdgeShard.create(str(folder), configured(dimensions))
    for name in FILTERED:
        shard.update(q.UpdateOperation.create_field_index(name, q.PayloadSchemaType.Keyword))
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


def within(scope: Scope, *, waiting: bool = False) -> Any:
    must = [
        q.FieldCondition("tenant", match=q.MatchValue(scope.tenant)),
        q.FieldCondition("readers", match=q.MatchAny(list(scope.readers))),
    ]
    if scope.collection:
        must.append(q.FieldCondition("collection", match=q.MatchValue(scope.collection)))
    must += [q.FieldCondition("attributes", match=q.MatchValue(pair)) for pair in pairs(scope.attributes)]
    if waiting:
        must.append(q.FieldCondition("dense", match=q.MatchValue("no")))
    return q.Filter(must=must)  # type: ignore[arg-type]


def passage(point: Any) -> Passage:
    vectors = point.vector if isinstance(point.vector, dict) else {}
    return read(str(point.id), point.payload, vectors.get("static"), vectors.get("dense"))
