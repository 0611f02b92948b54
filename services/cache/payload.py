"""An entry as a point's payload, the same for Qdrant Edge and a Qdrant server."""

import base64
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.cache.store import Entry

DIMENSIONS = 256
NONCE_BYTES = 12
_EMPTY = [0.0] * (DIMENSIONS - 1) + [1e-6]
"""Stands for no vector: engines refuse one of length zero."""


class _Rest(msgspec.Struct, array_like=True, frozen=True):
    """What no filter asks for, as one value: engines take a payload over value by value, and each costs as much as 20 characters."""

    exact: str
    text: bytes
    completion: bytes
    attached: bytes
    expires: float
    cost: int
    took_s: float
    right: int
    wrong: int
    answer: str


_packed, _unpacked = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Rest).decode


def numbers(entry: Entry) -> list[float]:
    """The vector, as every point has one."""
    return _EMPTY if entry.vector is None else entry.vector.tolist()


def written(entry: Entry, key: bytes = b"") -> dict[str, Any]:
    """The payload; what is asked and answered is encrypted where a 256-bit `key` is given."""
    rest = _Rest(
        entry.exact, entry.text.encode("utf-8", "surrogatepass"), entry.completion, entry.attached, entry.expires,
        entry.cost, entry.took_s, entry.right, entry.wrong, entry.answer,
    )  # fmt: skip
    return {
        "tenant": entry.tenant,
        "scope": entry.scope if entry.vector is not None else "",
        "model": entry.model,
        "tags": list(entry.tags),
        "stored": entry.stored,
        "rest": _closed(_packed(rest), entry.tenant, key),
    }


def read(point_id: str, payload: Mapping[str, Any] | None, vector: Any, key: bytes = b"") -> Entry | None:
    """The entry of a point; None for one that is corrupt, which is a miss and no error."""
    try:
        assert payload is not None
        tenant, scope = payload["tenant"], payload["scope"]
        rest = _unpacked(_opened(payload["rest"], tenant, key)) if "rest" in payload else _before(payload, key)
        return Entry(
            id=point_id,
            tenant=tenant,
            scope=scope,
            exact=rest.exact,
            text=rest.text.decode("utf-8", "surrogatepass"),
            vector=np.asarray(vector, np.float32) if scope and vector is not None else None,
            completion=rest.completion,
            model=payload["model"],
            tags=tuple(payload["tags"]),
            stored=float(payload["stored"]),
            expires=rest.expires,
            cost=rest.cost,
            took_s=rest.took_s,
            attached=rest.attached,
            right=rest.right,
            wrong=rest.wrong,
            answer=rest.answer,
        )
    except (KeyError, TypeError, ValueError, AssertionError, InvalidTag, msgspec.DecodeError):
        return None


def _before(payload: Mapping[str, Any], key: bytes) -> _Rest:
    """The same as releases up to 0.11 wrote it: a value each."""
    text, completion, attached = (
        _opened(payload[name], payload["tenant"], key) for name in ("text", "completion", "attached")
    )
    return _Rest(
        payload["exact"], text, completion, attached, float(payload["expires"]), int(payload["cost"]),
        float(payload["took_s"]), int(payload["right"]), int(payload["wrong"]), str(payload.get("answer", "")),
    )  # fmt: skip


def _closed(raw: bytes, tenant: str, key: bytes) -> str:
    if not key:
        return base64.b64encode(raw).decode()
    nonce = secrets.token_bytes(NONCE_BYTES)
    return base64.b64encode(nonce + _cipher(key).encrypt(nonce, raw, tenant.encode())).decode()


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


def _opened(said: str, tenant: str, key: bytes) -> bytes:
    raw = base64.b64decode(said, validate=True)
    return _cipher(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], tenant.encode()) if key else raw
