"""An entry as a point's payload, the same for Qdrant Edge and a Qdrant server."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.cache.store import Entry

DIMENSIONS = 256
NONCE_BYTES = 12
EMPTY = [0.0] * (DIMENSIONS - 1) + [1e-6]
"""Stands for no vector: engines refuse one of length zero."""


def written(entry: Entry, key: bytes = b"") -> dict[str, Any]:
    """The payload; the text and the answer are encrypted where a 256-bit `key` is given."""
    return {
        "tenant": entry.tenant,
        "scope": entry.scope if entry.vector is not None else "",
        "exact": entry.exact,
        "text": _closed(entry.text.encode("utf-8", "surrogatepass"), entry, key),
        "completion": _closed(entry.completion, entry, key),
        "model": entry.model,
        "tags": list(entry.tags),
        "stored": entry.stored,
        "expires": entry.expires,
        "cost": entry.cost,
        "took_s": entry.took_s,
        "attached": _closed(entry.attached, entry, key),
        "right": entry.right,
        "wrong": entry.wrong,
        "answer": entry.answer,
    }


def read(point_id: str, payload: Mapping[str, Any] | None, vector: Any, key: bytes = b"") -> Entry | None:
    """The entry of a point; None for one that is corrupt, which is a miss and no error."""
    try:
        assert payload is not None
        scope = payload["scope"]
        bare = Entry(
            id=point_id,
            tenant=payload["tenant"],
            scope=scope,
            exact=payload["exact"],
            text="",
            vector=np.asarray(vector, np.float32) if scope and vector is not None else None,
            completion=b"",
            model=payload["model"],
            tags=tuple(payload["tags"]),
            stored=float(payload["stored"]),
            expires=float(payload["expires"]),
            cost=int(payload["cost"]),
            took_s=float(payload["took_s"]),
            right=int(payload["right"]),
            wrong=int(payload["wrong"]),
            answer=str(payload.get("answer", "")),
        )
        text = _opened(payload["text"], bare, key).decode("utf-8", "surrogatepass")
        completion, attached = (_opened(payload[name], bare, key) for name in ("completion", "attached"))
        return replace(bare, text=text, completion=completion, attached=attached)
    except (KeyError, TypeError, ValueError, AssertionError, InvalidTag):
        return None


def _closed(raw: bytes, entry: Entry, key: bytes) -> str:
    if not key:
        return base64.b64encode(raw).decode()
    nonce = secrets.token_bytes(NONCE_BYTES)
    return base64.b64encode(nonce + _cipher(key).encrypt(nonce, raw, entry.tenant.encode())).decode()


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


def _opened(said: str, entry: Entry, key: bytes) -> bytes:
    raw = base64.b64decode(said, validate=True)
    return _cipher(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], entry.tenant.encode()) if key else raw
