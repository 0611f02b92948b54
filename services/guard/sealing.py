"""The map from placeholders to values, sealed so that it can travel: the service itself remembers nothing."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from zlib import compress, decompress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime.errors import Failure, Kind

VERSION = b"\x01"
KEY_ID_BYTES, NONCE_BYTES = 4, 12
COMPRESS_FROM = 1024


class MapBroken(Failure):
    kind, reason = Kind.INVALID, "MAP_BROKEN"
    text = "the sealed map was altered, is another tenant's, or its key is gone"
    field = "sealed_map"


def key_of(secret: str) -> bytes:
    """A 256-bit key from a secret of any length."""
    return sha256(b"tollway guard map\0" + secret.encode()).digest()


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals with the first key and opens with any: keys rotate by being put in front."""

    keys: tuple[bytes, ...] = field(repr=False)

    def close(self, values: Mapping[str, str], tenant: str) -> bytes:
        """AES-256-GCM over the map as JSON; the tenant is authenticated with it. Empty for an empty map."""
        if not values:
            return b""
        key, nonce = self.keys[0], secrets.token_bytes(NONCE_BYTES)
        body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        body = b"z" + compress(body) if len(body) > COMPRESS_FROM else b"j" + body
        return VERSION + _id(key) + nonce + AESGCM(key).encrypt(nonce, body, tenant.encode())

    def open(self, sealed: bytes, tenant: str) -> dict[str, str]:
        """What was sealed for `tenant`.

        Raises:
            MapBroken
        """
        if not sealed:
            return {}
        key_id, rest = sealed[1 : 1 + KEY_ID_BYTES], sealed[1 + KEY_ID_BYTES :]
        key = next((one for one in self.keys if _id(one) == key_id), None)
        if sealed[:1] != VERSION or key is None:
            raise MapBroken
        try:
            body = AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], tenant.encode())
        except (InvalidTag, ValueError):
            raise MapBroken from None
        plain = decompress(body[1:]) if body[:1] == b"z" else body[1:]
        values: dict[str, str] = json.loads(plain.decode("utf-8", "surrogatepass"))
        return values


def _id(key: bytes) -> bytes:
    return sha256(key).digest()[:KEY_ID_BYTES]
