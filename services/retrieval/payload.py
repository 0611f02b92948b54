"""A passage as a vector database keeps it: facts beside its vectors, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.retrieval.store import Passage, Vector
from services.retrieval.where import numbers

STATIC, DENSE = 256, 384
"""Numbers of a vector."""
FILTERED = ("tenant", "collection", "document_id", "readers", "attributes", "dense")
"""Facts that are filtered by as keywords; `ordinal` and `numbers` are by range."""


def written(one: Passage) -> dict[str, Any]:
    found = numbers(one.attributes)
    return {
        "tenant": one.tenant,
        "collection": one.collection,
        "document_id": one.document_id,
        "version": one.version,
        "title": one.title,
        "uri": one.uri,
        "text": one.text,
        "header": one.header,
        "start": one.start,
        "end": one.end,
        "digest": one.digest,
        "readers": list(one.readers),
        "attributes": pairs(one.attributes),
        "indexed": one.indexed,
        "dense": "yes" if one.dense is not None else "no",
        "ordinal": one.ordinal,
        **({"numbers": found} if found else {}),
    }


def read(passage_id: str, payload: Mapping[str, Any], static: Any = None, dense: Any = None) -> Passage:
    """Vectors where they were asked for. What an earlier release kept has no ordinal."""
    followed = payload["dense"] == "yes"
    return Passage(
        id=passage_id,
        tenant=payload["tenant"],
        collection=payload["collection"],
        document_id=payload["document_id"],
        version=payload["version"],
        title=payload["title"],
        uri=payload["uri"],
        text=payload["text"],
        header=payload["header"],
        start=int(payload["start"]),
        end=int(payload["end"]),
        digest=payload["digest"],
        readers=tuple(payload["readers"]),
        attributes=dict(pair.split("=", 1) for pair in payload["attributes"]),
        indexed=payload["indexed"],
        static=_vector(static) if static is not None else np.zeros(0, np.float32),
        dense=_vector(dense) if dense is not None and followed else None,
        ordinal=int(payload.get("ordinal", 0)),
        followed=followed,
    )


def pairs(attributes: Mapping[str, str]) -> list[str]:
    """Facts as keywords."""
    return [f"{name}={value}" for name, value in attributes.items()]


def _vector(values: Any) -> Vector:
    return np.asarray(values, np.float32)
