"""The store in PostgreSQL, shared by replicas."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg

from services.router.store import FOR_S, LEARNT_DAYS, UNMOVED, Learnt, Moved, StoreAway, Talk
from services.runtime.postgres import AWAY, affected

MODEL = f"SELECT model FROM conversation WHERE digest = $1 AND at > now() - interval '{FOR_S} seconds'"
KEEP = """
    INSERT INTO conversation SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[]) ORDER BY 1
    ON CONFLICT (digest) DO UPDATE SET model = excluded.model, at = now()
"""
LEARNT = "SELECT tenant, model, moved, outcomes FROM learnt WHERE at > now() - make_interval(secs => $1)"
MOVE = """
    INSERT INTO learnt VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, model) DO UPDATE SET moved = excluded.moved, outcomes = excluded.outcomes, at = now()
"""
FORGET = f"""
    WITH conversations AS (DELETE FROM conversation WHERE at < now() - interval '{FOR_S} seconds')
    DELETE FROM learnt WHERE at < now() - interval '{LEARNT_DAYS} days'
"""


@dataclass(frozen=True, slots=True)
class PostgresStore:
    pool: asyncpg.Pool

    async def model(self, conversation: bytes) -> str:
        with reached():
            return await self.pool.fetchval(MODEL, conversation) or ""

    async def keep(self, talks: Mapping[bytes, Talk]) -> None:
        with reached():
            await self.pool.execute(KEEP, list(talks), *(list(column) for column in zip(*talks.values(), strict=True)))

    async def learnt(self, within_s: float = 0.0) -> Learnt:
        with reached():
            rows = await self.pool.fetch(LEARNT, within_s or LEARNT_DAYS * 86_400.0)
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def move(self, tenant: str, model: str, step: Callable[[Moved], Moved]) -> Moved:
        with reached():
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant} {model}")
                now = await connection.fetchrow(
                    "SELECT moved, outcomes FROM learnt WHERE (tenant, model) = ($1, $2)", tenant, model
                )
                made = step((now[0], now[1]) if now is not None else UNMOVED)
                await connection.execute(MOVE, tenant, model, *made)
        return made

    async def forget(self) -> None:
        with reached():
            await self.pool.execute(FORGET)

    async def erase(self, tenant: str) -> Mapping[str, int]:
        with reached():
            async with self.pool.acquire() as connection, connection.transaction():
                return {
                    kind: affected(await connection.execute(f"DELETE FROM {table} WHERE tenant = $1", tenant))
                    for kind, table in (("conversations", "conversation"), ("abilities", "learnt"))
                }


@contextmanager
def reached() -> Iterator[None]:
    try:
        yield
    except AWAY:
        raise StoreAway from None
