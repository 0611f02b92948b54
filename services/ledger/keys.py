"""API keys and the tokens that they are turned into."""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.ledger.store import ApiKey
from services.runtime.errors import Failure, Kind
from services.runtime.identity import AUDIENCE, KEY_PREFIX

LIFETIME = timedelta(seconds=60)
OVERLAP = timedelta(days=1)
"""How long a key that was handed on goes on working, where nothing else is said."""


class KeyUnknown(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "KEY_UNKNOWN"
    text = "no such API key"


class KeyRevoked(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "KEY_REVOKED"
    text = "API key {key_id} was revoked"


class KeyExpired(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "KEY_EXPIRED"
    text = "API key {key_id} has expired"


class NoSuchKey(Failure):
    kind, reason = Kind.NOT_FOUND, "KEY_UNKNOWN"
    text = "there is no key {key_id}"


def fresh_secret() -> str:
    """256 random bits behind a prefix that secret scanners can know."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a key. It is random and long, so a fast hash is enough."""
    return sha256(secret.encode()).digest()


def successor(old: ApiKey, key_id: str, secret: str, now: datetime) -> ApiKey:
    """A key of the same account, name, rights and models, which lives as long as `old` was to live."""
    lifetime = old.expires - old.created if old.expires is not None else None
    expires = now + lifetime if lifetime is not None else None
    return replace(old, id=key_id, secret_hash=digest(secret), created=now, expires=expires)


def usable(key: ApiKey | None, now: datetime) -> ApiKey:
    """`key`, if it may be used.

    Raises:
        KeyUnknown, KeyRevoked, KeyExpired
    """
    if key is None:
        raise KeyUnknown
    if key.revoked is not None:
        raise KeyRevoked(key_id=key.id)
    if key.expires is not None and key.expires <= now:
        raise KeyExpired(key_id=key.id)
    return key


@dataclass(frozen=True, slots=True)
class Signer:
    """A replica's own signing key. The private half never leaves the process."""

    key_id: str = field(default_factory=lambda: secrets.token_hex(8))
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    lifetime: timedelta = LIFETIME

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def token(self, key: ApiKey, now: datetime, actor: str = "") -> tuple[str, datetime]:
        """A token for whoever showed `key`, or for key `actor` that acts for it (RFC 8693), and when it ends."""
        expires = now + self.lifetime
        if key.expires is not None:
            expires = min(expires, key.expires)
        claims = {
            "aud": AUDIENCE,
            "sub": key.id,
            "tenant": key.account.partition("/")[0],
            "account": key.account,
            "admin": key.admin,
            "models": list(key.models),
            "scopes": list(key.scopes),
            "regions": list(key.regions),
            "iat": now,
            "exp": expires,
        }
        if actor:
            claims["act"] = {"sub": actor}
        return jwt.encode(claims, self.private, algorithm="EdDSA", headers={"kid": self.key_id}), expires
