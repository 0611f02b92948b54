"""How an entry lies in an engine: sealed for its tenant, read back whole, also as earlier releases wrote it."""

import base64
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.cache.payload import read, written
from services.cache.store import Entry

KEY = b"k" * 32
VECTOR = np.full(256, 0.0625, np.float32)
ENTRY = Entry(
    "0b8f1c7e-2a53-4f0e-9d53-1c2f5a7e9b10", "acme", "scope", "exact", "What is the toll? \ud83d", VECTOR, b"nine crowns",
    "m", ("a", "b"), 100.5, 200.5, 7, 0.25, b"beside", 2, 1, "says",
)  # fmt: skip


def before(key: bytes) -> dict[str, Any]:
    """A value for each field, as releases up to 0.11 had it."""

    def closed(raw: bytes) -> str:
        nonce = b"n" * 12
        sealed = nonce + AESGCM(key).encrypt(nonce, raw, ENTRY.tenant.encode()) if key else raw
        return base64.b64encode(sealed).decode()

    plain = {name: getattr(ENTRY, name) for name in ("tenant", "scope", "exact", "model", "stored", "expires", "cost",
                                                     "took_s", "right", "wrong", "answer")}  # fmt: skip
    text = ENTRY.text.encode("utf-8", "surrogatepass")
    sealed = {"text": closed(text), "completion": closed(ENTRY.completion), "attached": closed(ENTRY.attached)}
    return {**plain, **sealed, "tags": list(ENTRY.tags)}


def same(found: Entry | None) -> bool:
    if found is None or found.vector is None:
        return False
    names = [name for name in Entry.__struct_fields__ if name != "vector"]
    as_it_was = all(getattr(found, name) == getattr(ENTRY, name) for name in names)
    return as_it_was and np.array_equal(found.vector, VECTOR)


@pytest.mark.parametrize("key", [KEY, b""])
def test_what_is_written_is_read(key: bytes) -> None:
    assert same(read(ENTRY.id, written(ENTRY, key), VECTOR.tolist(), key))


@pytest.mark.parametrize("key", [KEY, b""])
def test_what_an_earlier_release_wrote_is_read(key: bytes) -> None:
    assert same(read(ENTRY.id, before(key), VECTOR.tolist(), key))


def test_what_is_asked_and_answered_lies_sealed() -> None:
    lies = str(written(ENTRY, KEY))
    for shown in (b"What is the toll?", b"nine crowns", b"beside", b"exact"):
        assert shown.decode() not in lies
        assert base64.b64encode(shown).decode().rstrip("=")[:-1] not in lies
    assert written(ENTRY, KEY)["rest"] != written(ENTRY, KEY)["rest"]


@pytest.mark.parametrize("of", [written, lambda _, key: before(key)])
def test_another_key_or_another_tenant_reads_nothing(of: Any) -> None:
    payload = of(ENTRY, KEY)
    assert read(ENTRY.id, payload, VECTOR, b"o" * 32) is None
    assert read(ENTRY.id, {**payload, "tenant": "globex"}, VECTOR, KEY) is None


@pytest.mark.parametrize("rest", ["", "no base64!", base64.b64encode(b"\x93\x01").decode(), 7, None])
@pytest.mark.parametrize("key", [KEY, b""])
def test_what_is_corrupt_is_a_miss(key: bytes, rest: Any) -> None:
    assert read(ENTRY.id, {**written(ENTRY, key), "rest": rest}, VECTOR, key) is None
    assert read(ENTRY.id, None, VECTOR, key) is None
