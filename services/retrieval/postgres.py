"""The catalogue in PostgreSQL, shared by replicas; epochs are told to all of them as they change."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import asyncpg

from services.retrieval.catalogue import Place
from services.retrieval.documents import Collection, Key, Parked, Row
from services.retrieval.store import StoreAway
from services.runtime.postgres import AWAY, affected

CHANNEL = "retrieval_epoch"
LOOKS_EVERY_S = 1.0
EPOCH = "SELECT epoch FROM epoch WHERE tenant = $1"
ROW = tuple(one.name for one in fields(Row))
PARKED = tuple(one.name for one in fields(Parked))
NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
ADVANCE = f"""
    INSERT INTO epoch VALUES ($1, {NOW})
    ON CONFLICT (tenant) DO UPDATE SET epoch = greatest(epoch.epoch + 1, excluded.epoch) RETURNING epoch
"""
OF_COLLECTION = """
    SELECT greatest(e.everywhere, c.epoch) FROM epoch e LEFT JOIN collection_epoch c ON (c.tenant, c.collection) = (e.tenant, $2)
    WHERE e.tenant = $1
"""
NAMING = "SELECT set_config('tollway.collection', $1, true)"
"""For the transaction: the trigger on `epoch` reads it, a letter before the name since that may be empty."""
RESTART = f"""
    WITH moved AS (UPDATE epoch SET epoch = greatest(epoch + 1, {NOW}) RETURNING tenant, epoch)
    SELECT pg_notify($1, epoch || ' ' || tenant) FROM moved
"""
NAMES, PLACES = ", ".join(ROW), ", ".join(f"${n + 1}" for n in range(len(ROW)))
CHANGES = ", ".join(f"{name} = excluded.{name}" for name in ROW[3:])
COMMIT = f"""
    WITH before AS (SELECT version, indexed FROM document WHERE (tenant, collection, document_id) = ($1, $2, $3)),
        gone AS (DELETE FROM parked WHERE (tenant, collection, document_id) = ($1, $2, $3)),
        made AS (INSERT INTO document ({NAMES}) VALUES ({PLACES})
            ON CONFLICT (tenant, collection, document_id) DO UPDATE SET {CHANGES})
    SELECT EXISTS (SELECT FROM before WHERE version = $4 AND indexed <> 0)
"""
PARK = f"""
    INSERT INTO parked ({", ".join(PARKED)}) VALUES ({", ".join(f"${n + 1}" for n in range(len(PARKED)))})
    ON CONFLICT (tenant, collection, document_id) DO UPDATE SET tries = parked.tries + 1,
        {", ".join(f"{name} = excluded.{name}" for name in PARKED[3:] if name != "tries")}
"""
COLLECTIONS = """
    WITH searchable AS (SELECT collection AS name, count(*) AS documents FROM document WHERE tenant = $1 AND $2 IN ('', collection)
            GROUP BY collection),
        bad AS (SELECT collection AS name, count(*) AS parked FROM parked WHERE tenant = $1 AND $2 IN ('', collection) GROUP BY collection),
        kept AS (SELECT name, title, metadata, created, idle_s, used FROM collection WHERE tenant = $1 AND $2 IN ('', name))
    SELECT $1 AS tenant, name, coalesce(title, '') AS title, coalesce(metadata, '{}') AS metadata, coalesce(created, 0) AS created,
        coalesce(documents, 0) AS documents, coalesce(parked, 0) AS parked, coalesce(idle_s, 0) AS idle_s, coalesce(used, 0) AS used
    FROM kept FULL JOIN searchable USING (name) FULL JOIN bad USING (name)
"""
KEYS = "SELECT * FROM unnest($1::text[], $2::text[], $3::text[])"


@dataclass(slots=True)
class PostgresCatalogue:
    pool: asyncpg.Pool
    together: int = 2
    """Documents that are changed at a time: each holds a connection of the pool, and asks for another."""
    _gate: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.together)

    async def versions(self, keys: Iterable[Key]) -> Mapping[Key, str]:
        with told():
            rows = await self.pool.fetch(
                f"SELECT tenant, collection, document_id, version FROM document"
                f" WHERE (tenant, collection, document_id) IN ({KEYS})",
                *_columns(set(keys)),
            )
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def point(self, key: Key, version: str) -> None:
        with told():
            await self.pool.execute(
                "INSERT INTO document (tenant, collection, document_id, version) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (tenant, collection, document_id) DO UPDATE SET version = $4, indexed = 0, mark = ''"
                " WHERE document.version <> $4",
                *key,
                version,
            )

    async def forget(self, keys: Sequence[Key]) -> int:
        with told():
            done = await self.pool.execute(
                f"DELETE FROM document WHERE (tenant, collection, document_id) IN ({KEYS})",
                *_columns(keys),
            )
        return affected(done)

    @asynccontextmanager
    async def alone(self, key: Key) -> AsyncIterator[None]:
        async with self._gate:
            with told():
                connection = await self.pool.acquire()
            try:
                with told():
                    await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", "\x1f".join(key))
                yield
            finally:  # given back to the pool, the connection lets go of every lock
                await self.pool.release(connection)

    @asynccontextmanager
    async def leading(self, name: str) -> AsyncIterator[asyncio.Event]:
        with told():
            connection = await self.pool.acquire()
        try:
            with told():
                while not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 1))", name):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(LOOKS_EVERY_S)
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            yield lost
        finally:  # given back to the pool, the connection lets go of every lock
            await self.pool.release(connection)

    async def commit(self, row: Row) -> int:
        with told():
            async with self.pool.acquire() as connection, connection.transaction():
                known = await connection.fetchval(COMMIT, *(getattr(row, name) for name in ROW))
                if known and (epoch := await connection.fetchval(EPOCH, row.tenant)):
                    return int(epoch)
                return await self._advance(connection, row.tenant, row.collection)

    async def changed(self, key: Key) -> float:
        with told():
            asked = "SELECT changed FROM document WHERE (tenant, collection, document_id) = ($1, $2, $3)"
            return float(await self.pool.fetchval(asked, *key) or 0.0)

    async def advance(self, tenant: str, collection: str | None = None) -> int:
        with told():
            async with self.pool.acquire() as connection, connection.transaction():
                return await self._advance(connection, tenant, collection)

    async def _advance(self, connection: Any, tenant: str, collection: str | None) -> int:
        await connection.execute(NAMING, "" if collection is None else f"c{collection}")
        epoch: int = await connection.fetchval(ADVANCE, tenant)
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{epoch} {tenant}")
        return epoch

    async def epoch(self, tenant: str) -> int:
        with told():
            found: int | None = await self.pool.fetchval(EPOCH, tenant)
        return found if found is not None else await self.advance(tenant)

    async def collection_epoch(self, tenant: str, collection: str) -> int:
        with told():
            found: int | None = await self.pool.fetchval(OF_COLLECTION, tenant, collection)
        return found if found is not None else await self.advance(tenant)

    async def restarted(self) -> None:
        """New epochs for everybody: what was changed by one who was killed at it may not have been told."""
        with told():
            await self.pool.execute(RESTART, CHANNEL)

    @asynccontextmanager
    async def listening(self, heard: Callable[[str, int], None]) -> AsyncIterator[Any]:
        """Calls `heard` with each tenant's new epoch; yields the connection, whose end means that nothing is heard any more."""

        def told(_: object, __: int, ___: str, payload: object) -> None:
            epoch, _space, tenant = str(payload).partition(" ")
            heard(tenant, int(epoch))

        async with self.pool.acquire() as connection:
            await connection.add_listener(CHANNEL, told)
            try:
                yield connection
            finally:
                if not connection.is_closed():
                    await connection.remove_listener(CHANNEL, told)

    async def marks(self, tenant: str, source: str) -> Mapping[Place, str]:
        asked = "SELECT collection, document_id, mark FROM {} WHERE tenant = $1 AND source = $2"
        with told():
            rows = await self.pool.fetch(
                f"{asked.format('document')} UNION ALL {asked.format('parked')}", tenant, source
            )
        return {(row[0], row[1]): row[2] for row in rows}

    async def unmark(self, tenant: str, source: str) -> None:
        with told():
            await self.pool.execute("UPDATE document SET mark = '' WHERE tenant = $1 AND source = $2", tenant, source)
            await self.pool.execute("UPDATE parked SET mark = '' WHERE tenant = $1 AND source = $2", tenant, source)

    async def page(self, tenant: str, collection: str, source: str, after: Place, most: int) -> Sequence[Row]:
        with told():
            rows = await self.pool.fetch(
                f"SELECT {NAMES} FROM document WHERE tenant = $1 AND $2 IN ('', collection) AND $3 IN ('', source)"
                " AND (collection, document_id) > ($4, $5) ORDER BY collection, document_id LIMIT $6",
                tenant, collection, source, *after, most,
            )  # fmt: skip
        return [Row(**row) for row in rows]

    async def row(self, key: Key) -> Row | None:
        with told():
            found = await self.pool.fetchrow(
                f"SELECT {NAMES} FROM document WHERE (tenant, collection, document_id) = ($1, $2, $3)", *key
            )
        return Row(**found) if found else None

    async def parked_one(self, key: Key) -> Parked | None:
        with told():
            found = await self.pool.fetchrow(
                f"SELECT {', '.join(PARKED)} FROM parked WHERE (tenant, collection, document_id) = ($1, $2, $3)", *key
            )
        return Parked(**found) if found else None

    async def keep_collection(self, one: Collection) -> None:
        with told():
            await self.pool.execute(
                "INSERT INTO collection (tenant, name, title, metadata, created, idle_s, used) VALUES ($1, $2, $3, $4, $5, $6, $7)"
                " ON CONFLICT (tenant, name) DO UPDATE SET title = excluded.title, metadata = excluded.metadata,"
                " idle_s = excluded.idle_s, used = excluded.used",
                one.tenant, one.name, one.title, one.metadata, one.created, one.idle_s, one.used,
            )  # fmt: skip

    async def use(self, tenant: str, name: str, at: float) -> None:
        with told():
            await self.pool.execute(
                "UPDATE collection SET used = greatest(used, $3) WHERE (tenant, name) = ($1, $2)", tenant, name, at
            )

    async def idle(self, at: float, most: int) -> Sequence[Collection]:
        with told():
            rows = await self.pool.fetch(
                "SELECT tenant, name, title, metadata, created, idle_s, used FROM collection"
                " WHERE idle_s > 0 AND used + idle_s <= $1 ORDER BY used LIMIT $2",
                at, most,
            )  # fmt: skip
        return [Collection(**row) for row in rows]

    async def collections(self, tenant: str, after: str, most: int) -> Sequence[Collection]:
        with told():
            rows = await self.pool.fetch(
                f'{COLLECTIONS} WHERE name COLLATE "C" > $3 OR $3 = \'\' ORDER BY name COLLATE "C" LIMIT $4',
                tenant,
                "",
                after,
                most,
            )
        return [Collection(**row) for row in rows]

    async def collection(self, tenant: str, name: str) -> Collection | None:
        with told():
            found = await self.pool.fetchrow(f"{COLLECTIONS} WHERE name = $3", tenant, name, name)
        return Collection(**found) if found else None

    async def drop_collection(self, tenant: str, name: str) -> bool:
        with told():
            done = await self.pool.execute("DELETE FROM collection WHERE (tenant, name) = ($1, $2)", tenant, name)
        return affected(done) > 0

    async def keys(self, after: Key, most: int) -> Sequence[Key]:
        with told():
            rows = await self.pool.fetch(
                "SELECT tenant, collection, document_id FROM document WHERE (tenant, collection, document_id) > ($1, $2, $3)"
                " ORDER BY tenant, collection, document_id LIMIT $4",
                *after, most,
            )  # fmt: skip
        return [(row[0], row[1], row[2]) for row in rows]

    async def about(self, tenant: str, subject: str, most: int) -> Sequence[Key]:
        with told():
            rows = await self.pool.fetch(
                "SELECT tenant, collection, document_id FROM document WHERE tenant = $1 AND $2 IN ('', subject) LIMIT $3",
                tenant, subject, most,
            )  # fmt: skip
        return [(row[0], row[1], row[2]) for row in rows]

    async def clear(self, tenant: str) -> None:
        with told():
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute("DELETE FROM source WHERE tenant = $1", tenant)
                await connection.execute("DELETE FROM evaluation WHERE tenant = $1", tenant)
                await connection.execute("DELETE FROM collection WHERE tenant = $1", tenant)

    async def sample(self, most: int) -> Sequence[Key]:
        with told():
            rows = await self.pool.fetch(
                "SELECT tenant, collection, document_id FROM document ORDER BY random() LIMIT $1", most
            )
        return [(row[0], row[1], row[2]) for row in rows]

    async def total(self) -> int:
        with told():
            return int(await self.pool.fetchval("SELECT count(*) FROM document"))

    async def park(self, parked: Parked) -> None:
        with told():
            await self.pool.execute(PARK, *(getattr(parked, name) for name in PARKED))

    async def parked(self, tenant: str, collection: str, after: Place, most: int) -> Sequence[Parked]:
        with told():
            rows = await self.pool.fetch(
                f"SELECT {', '.join(PARKED)} FROM parked WHERE tenant = $1 AND $2 IN ('', collection)"
                " AND (collection, document_id) > ($3, $4) ORDER BY collection, document_id LIMIT $5",
                tenant, collection, *after, most,
            )  # fmt: skip
        return [Parked(**row) for row in rows]

    async def unpark(self, keys: Sequence[Key]) -> int:
        with told():
            done = await self.pool.execute(
                f"DELETE FROM parked WHERE (tenant, collection, document_id) IN ({KEYS})",
                *_columns(keys),
            )
        return affected(done)

    async def counts(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        with told():
            rows = await self.pool.fetch(
                "SELECT source, sum(here)::int, sum(away)::int FROM (SELECT source, 1 AS here, 0 AS away FROM document"
                " WHERE tenant = $1 UNION ALL SELECT source, 0, 1 FROM parked WHERE tenant = $1) AS kept GROUP BY source",
                tenant,
            )
        return {row[0]: (row[1], row[2]) for row in rows}

    async def arrived(self, tenant: str, source: str, changes: int, in_time: int) -> None:
        with told():
            await self.pool.execute(
                "INSERT INTO source VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, name) DO UPDATE"
                " SET changes = source.changes + $3, in_time = source.in_time + $4",
                tenant, source, changes, in_time,
            )  # fmt: skip

    async def arrivals(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        with told():
            rows = await self.pool.fetch("SELECT name, changes, in_time FROM source WHERE tenant = $1", tenant)
        return {row[0]: (row[1], row[2]) for row in rows}

    async def evaluated(self, tenant: str, name: str, at: float, scores: Mapping[str, Any]) -> None:
        with told():
            await self.pool.execute(
                "INSERT INTO evaluation (tenant, name, at, scores) VALUES ($1, $2, $3, $4)",
                tenant, name, at, json.dumps(scores),
            )  # fmt: skip

    async def last_evaluation(self, tenant: str, name: str) -> tuple[float, Mapping[str, Any]] | None:
        with told():
            row = await self.pool.fetchrow(
                "SELECT at, scores FROM evaluation WHERE tenant = $1 AND name = $2 ORDER BY number DESC LIMIT 1",
                tenant,
                name,
            )
        return (row[0], json.loads(row[1])) if row else None


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[str], list[str]]:
    listed = list(keys)
    return [one[0] for one in listed], [one[1] for one in listed], [one[2] for one in listed]


@contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except AWAY:
        raise StoreAway from None
