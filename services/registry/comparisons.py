"""Shadows and what they compared, in PostgreSQL."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.registry import verdicts
from services.registry.audit import Change
from services.registry.logbook import logged
from services.registry.sequential import Compared
from services.registry.verdicts import Found, Measure, Pair
from services.registry.versions import Actor
from services.runtime.errors import Failure, Kind

MOST_SHADOWS = 100
LOOKED_AGAIN = timedelta(seconds=15)
"""A comparison whose replica was killed while it looked is looked at again after so long."""


class ShadowUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "SHADOW_UNKNOWN"
    text = "there is no shadow {name}"
    field = "name"


class TooManyShadows(Failure):
    kind, reason = Kind.PRECONDITION, "TOO_MANY_SHADOWS"
    text = "a tenant has at most 100 shadows"


@dataclass(frozen=True, slots=True)
class Shadow:
    tenant: str
    name: str
    revision: int
    spec: bytes
    """As its contract says it."""
    by: Actor
    promoted: datetime | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    id: UUID
    tenant: str
    name: str
    revision: int
    job: UUID
    trace: str
    expected: bool
    live_cost: int
    live_took: timedelta
    at: datetime
    state: str = "waiting"
    looks: int = 0
    number: int = 0
    candidate: Mapping[str, float] | None = None
    live: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Side:
    answers: int
    cost: float
    took: timedelta


@dataclass(frozen=True, slots=True)
class Standing:
    """All that a shadow has found."""

    found: Mapping[str, Found]
    waiting: int
    failed: int
    live: Side
    candidate: Side


SKIPPED = "UPDATE shadow SET skipped = skipped + 1 WHERE tenant = $1 AND name = $2"


class Comparisons:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def set(self, shadow: Shadow, said: Mapping[str, Any], at: datetime) -> Shadow:
        """Keeps it as its next revision, and forgets what the one before found. `said` is what the log tells of it.

        Raises:
            TooManyShadows
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", shadow.tenant)
            names = await connection.fetch("SELECT name, revision FROM shadow WHERE tenant = $1", shadow.tenant)
            standing = {row["name"]: row["revision"] for row in names}
            if shadow.name not in standing and len(standing) >= MOST_SHADOWS:
                raise TooManyShadows
            await connection.execute("DELETE FROM shadow WHERE tenant = $1 AND name = $2", shadow.tenant, shadow.name)
            revision = standing.get(shadow.name, 0) + 1
            await connection.execute(
                "INSERT INTO shadow (tenant, name, revision, spec, key_id, account, created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                shadow.tenant, shadow.name, revision, shadow.spec, shadow.by.key_id, shadow.by.account, at,
            )  # fmt: skip
            target = f"shadow {shadow.name}"
            await logged(connection, Change(shadow.tenant, shadow.by, at, "shadow.set", target, None, dict(said)))
        return Shadow(shadow.tenant, shadow.name, revision, shadow.spec, shadow.by)

    async def delete(self, tenant: str, name: str, by: Actor, at: datetime) -> None:
        """
        Raises:
            ShadowUnknown
        """
        async with self._pool.acquire() as connection, connection.transaction():
            gone = await connection.execute("DELETE FROM shadow WHERE tenant = $1 AND name = $2", tenant, name)
            if gone == "DELETE 0":
                raise ShadowUnknown(name=name)
            await logged(connection, Change(tenant, by, at, "shadow.delete", f"shadow {name}"))

    async def shadow(self, tenant: str, name: str) -> Shadow:
        """
        Raises:
            ShadowUnknown
        """
        row = await self._pool.fetchrow("SELECT * FROM shadow WHERE tenant = $1 AND name = $2", tenant, name)
        if row is None:
            raise ShadowUnknown(name=name)
        return _shadow(row)

    async def shadows(self, tenant: str = "") -> list[Shadow]:
        """Of one tenant, or of all; by name."""
        found = await self._pool.fetch(
            "SELECT * FROM shadow WHERE $1 = '' OR tenant = $1 ORDER BY tenant, name", tenant
        )
        return [_shadow(row) for row in found]

    async def waiting(self, tenant: str, name: str) -> int:
        count = await self._pool.fetchval(
            "SELECT count(*) FROM comparison WHERE tenant = $1 AND name = $2 AND state = 'waiting'", tenant, name
        )
        return int(count)

    async def begin(self, one: Comparison) -> None:
        """Nothing when its shadow is gone, or was changed since."""
        await self._pool.execute(
            """INSERT INTO comparison (id, tenant, name, revision, job, due, trace, expected, live_cost, live_took, at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $6 FROM shadow
               WHERE tenant = $2 AND name = $3 AND revision = $4 FOR KEY SHARE""",
            one.id, one.tenant, one.name, one.revision, one.job, one.at, one.trace, one.expected, one.live_cost,
            one.live_took,
        )  # fmt: skip

    async def skip(self, tenant: str, name: str) -> None:
        """One that could not be compared."""
        await self._pool.execute(SKIPPED, tenant, name)

    async def due(self, most: int) -> list[Comparison]:
        """Those to be looked at now; nobody else looks at them for a while."""
        found = await self._pool.fetch(
            """UPDATE comparison SET due = now() + $2, looks = looks + 1 WHERE number IN (
                   SELECT number FROM comparison WHERE state = 'waiting' AND due <= now() ORDER BY due LIMIT $1
                   FOR UPDATE SKIP LOCKED) RETURNING *""",
            most, LOOKED_AGAIN,
        )  # fmt: skip
        return [_comparison(row) for row in found]

    async def again(self, one: Comparison, after: timedelta) -> None:
        await self._pool.execute("UPDATE comparison SET due = now() + $2 WHERE number = $1", one.number, after)

    async def end(
        self, one: Comparison, state: str, pair: Pair | None, measures: Sequence[Measure], cost: int, took: timedelta
    ) -> None:
        """Ends a comparison, once, and counts what it found. `pair` is None for one that is skipped."""
        async with self._pool.acquire() as connection, connection.transaction():
            scores = pair or Pair({}, {}, one.expected)
            ended = await connection.execute(
                """UPDATE comparison SET state = $2, candidate = $3, live = $4, candidate_cost = $5, candidate_took = $6
                   WHERE number = $1 AND state = 'waiting'""",
                one.number, state, json.dumps(dict(scores.candidate)), json.dumps(dict(scores.live)),
                cost if state == "done" else None, took if state == "done" else None,
            )  # fmt: skip
            if ended == "UPDATE 0":
                return
            if pair is None:
                await connection.execute(f"{SKIPPED} AND revision = $3", one.tenant, one.name, one.revision)
                return
            for measure in measures:
                await _count(connection, one, measure, pair)

    async def standing(self, shadow: Shadow) -> Standing:
        key = (shadow.tenant, shadow.name, shadow.revision)
        rows = await self._pool.fetch("SELECT * FROM verdict WHERE tenant = $1 AND name = $2 AND revision = $3", *key)
        sums = await self._pool.fetchrow(
            """SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'failed') AS failed,
                      count(*) FILTER (WHERE state IN ('done', 'failed')) AS answers, count(candidate_cost) AS asked,
                      coalesce(avg(live_cost) FILTER (WHERE state IN ('done', 'failed')), 0)::float8 AS live_cost,
                      coalesce(avg(live_took) FILTER (WHERE state IN ('done', 'failed')), '0') AS live_took,
                      coalesce(avg(candidate_cost), 0)::float8 AS candidate_cost, coalesce(avg(candidate_took), '0') AS candidate_took
               FROM comparison WHERE tenant = $1 AND name = $2 AND revision = $3""",
            *key,
        )  # fmt: skip
        assert sums is not None
        return Standing(
            found={row["measure"]: _found(row) for row in rows},
            waiting=sums["waiting"],
            failed=sums["failed"],
            live=Side(sums["answers"], sums["live_cost"], sums["live_took"]),
            candidate=Side(sums["asked"], sums["candidate_cost"], sums["candidate_took"]),
        )

    async def listed(self, tenant: str, name: str, below: int, most: int) -> list[Comparison]:
        """The newest first."""
        found = await self._pool.fetch(
            """SELECT * FROM comparison WHERE tenant = $1 AND name = $2 AND ($3 = 0 OR number < $3)
               ORDER BY number DESC LIMIT $4""",
            tenant, name, below, most,
        )  # fmt: skip
        return [_comparison(row) for row in found]

    async def promote(self, shadow: Shadow, at: datetime) -> bool:
        """Notes that its promotion was begun; False when it was before."""
        done = await self._pool.execute(
            "UPDATE shadow SET promoted = $4 WHERE tenant = $1 AND name = $2 AND revision = $3 AND promoted IS NULL",
            shadow.tenant, shadow.name, shadow.revision, at,
        )  # fmt: skip
        return bool(done == "UPDATE 1")

    async def forget(self, before: datetime) -> None:
        """Removes comparisons that began before; what they said of the candidate stays counted."""
        await self._pool.execute("DELETE FROM comparison WHERE at < $1", before)


async def _count(connection: Any, one: Comparison, measure: Measure, pair: Pair) -> None:
    key = (one.tenant, one.name, one.revision, measure.name)
    await connection.execute(
        """INSERT INTO verdict (tenant, name, revision, measure, pairs, total, squares, candidate, live, up, down)
           SELECT $1, $2, $3, $4, 0, 0, 0, 0, 0, $5, $5 FROM shadow WHERE tenant = $1 AND name = $2 AND revision = $3
           ON CONFLICT DO NOTHING""",
        *key, list(Compared().up),
    )  # fmt: skip
    row = await connection.fetchrow(
        "SELECT * FROM verdict WHERE tenant = $1 AND name = $2 AND revision = $3 AND measure = $4 FOR UPDATE", *key
    )
    if row is None:  # the shadow was changed meanwhile
        return
    made = verdicts.counted(_found(row), measure, pair)
    sums = made.differences
    await connection.execute(
        """UPDATE verdict SET pairs = $5, total = $6, squares = $7, candidate = $8, live = $9, up = $10, down = $11
           WHERE tenant = $1 AND name = $2 AND revision = $3 AND measure = $4""",
        *key, sums.count, sums.total, sums.squares, made.candidate, made.live, list(sums.up), list(sums.down),
    )  # fmt: skip


def _found(row: asyncpg.Record) -> Found:
    differences = Compared(row["pairs"], row["total"], row["squares"], tuple(row["up"]), tuple(row["down"]))
    return Found(differences, row["candidate"], row["live"])


def _shadow(row: asyncpg.Record) -> Shadow:
    return Shadow(
        row["tenant"], row["name"], row["revision"], row["spec"], Actor(row["key_id"], row["account"]),
        row["promoted"], row["skipped"],
    )  # fmt: skip


def _comparison(row: asyncpg.Record) -> Comparison:
    return Comparison(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        revision=row["revision"],
        job=row["job"],
        trace=row["trace"],
        expected=row["expected"],
        live_cost=row["live_cost"],
        live_took=row["live_took"],
        at=row["at"],
        state=row["state"],
        looks=row["looks"],
        number=row["number"],
        candidate=json.loads(row["candidate"]),
        live=json.loads(row["live"]),
    )
