"""Secrets that a browser may have: each opens sessions by the right of a key, for a while, and nothing else."""

import base64
import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from services.ledger.store import ApiKey
from services.runtime.errors import Failure, Kind
from services.runtime.identity import CLIENT_SECRET_PREFIX

SCOPES = ("realtime",)


class ClientSecretOver(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "CLIENT_SECRET_OVER"
    text = "there is no such client secret any more: they last two hours at most"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    secret_hash: bytes = field(repr=False)
    key_id: str
    models: tuple[str, ...]
    session: str = field(repr=False)
    expires: datetime

    def narrowed(self, key: ApiKey) -> ApiKey:
        """What of its key whoever shows it has."""
        expires = self.expires if key.expires is None else min(key.expires, self.expires)
        return replace(key, admin=False, models=self.models, scopes=SCOPES, expires=expires)


def derived(secret: bytes, key_id: str, request_id: str) -> str:
    """The same for the same request of a key; nobody without the ledger's own `secret` can tell it."""
    made = hmac.digest(secret, f"client secret\0{key_id}\0{request_id}".encode(), "sha256")
    return CLIENT_SECRET_PREFIX + base64.urlsafe_b64encode(made).decode().rstrip("=")


class ClientSecrets(Protocol):
    async def keep(self, one: ClientSecret) -> ClientSecret:
        """The earlier one, where it was kept before."""
        ...

    async def find(self, secret_hash: bytes, now: datetime) -> ClientSecret | None:
        """One that has not ended."""
        ...

    async def forget(self, now: datetime) -> int:
        """Those that have ended; how many."""
        ...


class MemoryClientSecrets:
    """In a dict: for tests."""

    def __init__(self) -> None:
        self.kept: dict[bytes, ClientSecret] = {}

    async def keep(self, one: ClientSecret) -> ClientSecret:
        return self.kept.setdefault(one.secret_hash, one)

    async def find(self, secret_hash: bytes, now: datetime) -> ClientSecret | None:
        found = self.kept.get(secret_hash)
        return found if found is not None and found.expires > now else None

    async def forget(self, now: datetime) -> int:
        over = [key for key, one in self.kept.items() if one.expires <= now]
        for key in over:
            del self.kept[key]
        return len(over)


class PostgresClientSecrets:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def keep(self, one: ClientSecret) -> ClientSecret:
        row = await self._pool.fetchrow(
            "INSERT INTO client_secret VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (secret_hash) DO UPDATE SET secret_hash = $1 RETURNING *",
            one.secret_hash, one.key_id, list(one.models), one.session, one.expires,
        )  # fmt: skip
        return _read(row)

    async def find(self, secret_hash: bytes, now: datetime) -> ClientSecret | None:
        row = await self._pool.fetchrow(
            "SELECT * FROM client_secret WHERE secret_hash = $1 AND expires > $2", secret_hash, now
        )
        return _read(row) if row is not None else None

    async def forget(self, now: datetime) -> int:
        gone = await self._pool.fetchval(
            "WITH over AS (DELETE FROM client_secret WHERE expires <= $1 RETURNING 1) SELECT count(*) FROM over", now
        )
        return int(gone)


def _read(row: Any) -> ClientSecret:
    return ClientSecret(row["secret_hash"], row["key_id"], tuple(row["models"]), row["session"], row["expires"])
