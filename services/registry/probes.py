"""Probes, and what they see, in PostgreSQL."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.registry.audit import Change
from services.registry.drifting import Detector
from services.registry.logbook import logged
from services.registry.versions import Actor
from services.runtime.errors import Failure, Kind

MOST_PROBES = 100
LOOKED_AGAIN = timedelta(seconds=60)


class ProbeUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "PROBE_UNKNOWN"
    text = "there is no probe {name}"
    field = "name"


class TooManyProbes(Failure):
    kind, reason = Kind.PRECONDITION, "TOO_MANY_PROBES"
    text = "a tenant has at most 100 probes"


@dataclass(frozen=True, slots=True)
class Probe:
    tenant: str
    name: str
    spec: bytes
    """As its contract says it."""
    by: Actor


@dataclass(slots=True)
class Watched:
    """What a probe sees of a model. Filled in by whoever has claimed it."""

    tenant: str
    name: str
    model: str
    job: UUID | None = None
    rounds: int = 0
    reference: dict[str, str] | None = None
    baseline: dict[str, list[float]] = field(default_factory=dict)
    """By case: how often it was seen, and the sums of what was seen of it, before anything is judged."""
    signals: dict[str, Detector] = field(default_factory=dict)
    reported: str = ""
    alarmed: datetime | None = None
    alarm: str = ""
    asked: datetime | None = None
    mark: UUID | None = None
    """Another with each change in the store."""


class Probes:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def set(self, probe: Probe, models: list[str], said: Mapping[str, Any], at: datetime) -> None:
        """Keeps a probe; what one of its name saw before is forgotten. `said` is what the log tells of it.

        Raises:
            TooManyProbes
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", probe.tenant)
            await connection.execute("DELETE FROM probe WHERE tenant = $1 AND name = $2", probe.tenant, probe.name)
            count = await connection.fetchval("SELECT count(*) FROM probe WHERE tenant = $1", probe.tenant)
            if count >= MOST_PROBES:
                raise TooManyProbes
            await connection.execute(
                "INSERT INTO probe (tenant, name, spec, key_id, account, created) VALUES ($1, $2, $3, $4, $5, $6)",
                probe.tenant, probe.name, probe.spec, probe.by.key_id, probe.by.account, at,
            )  # fmt: skip
            for model in models:
                await connection.execute(
                    "INSERT INTO watched (tenant, name, model, due) VALUES ($1, $2, $3, $4)",
                    probe.tenant, probe.name, model, at,
                )  # fmt: skip
            target = f"probe {probe.name}"
            await logged(connection, Change(probe.tenant, probe.by, at, "probe.set", target, None, dict(said)))

    async def delete(self, tenant: str, name: str, by: Actor, at: datetime) -> None:
        """
        Raises:
            ProbeUnknown
        """
        async with self._pool.acquire() as connection, connection.transaction():
            gone = await connection.execute("DELETE FROM probe WHERE tenant = $1 AND name = $2", tenant, name)
            if gone == "DELETE 0":
                raise ProbeUnknown(name=name)
            await logged(connection, Change(tenant, by, at, "probe.delete", f"probe {name}"))

    async def renew(self, tenant: str, name: str, model: str, by: Actor, at: datetime) -> None:
        """Forgets what was usual: the next round says it anew. Of all models without a name.

        Raises:
            ProbeUnknown
        """
        async with self._pool.acquire() as connection, connection.transaction():
            done = await connection.execute(
                """UPDATE watched SET rounds = 0, reference = NULL, baseline = '{}', signals = '{}', reported = '', alarmed = NULL, alarm = '', due = $4,
                   job = NULL, mark = gen_random_uuid() WHERE tenant = $1 AND name = $2 AND ($3 = '' OR model = $3)""",
                tenant, name, model, at,
            )  # fmt: skip
            if done == "UPDATE 0":
                raise ProbeUnknown(name=name)
            await logged(connection, Change(tenant, by, at, "probe.renew", f"probe {name}", None, {"model": model}))

    async def probe(self, tenant: str, name: str) -> Probe | None:
        row = await self._pool.fetchrow("SELECT * FROM probe WHERE tenant = $1 AND name = $2", tenant, name)
        return _probe(row) if row is not None else None

    async def listed(self, tenant: str) -> list[tuple[Probe, list[Watched]]]:
        """By name."""
        probes = await self._pool.fetch("SELECT * FROM probe WHERE tenant = $1 ORDER BY name", tenant)
        models = await self._pool.fetch("SELECT * FROM watched WHERE tenant = $1 ORDER BY model", tenant)
        return [(_probe(row), [_watched(one) for one in models if one["name"] == row["name"]]) for row in probes]

    async def due(self, most: int) -> list[Watched]:
        """Those to be asked or looked at now; nobody else does for a while."""
        found = await self._pool.fetch(
            """UPDATE watched SET due = now() + $2 WHERE (tenant, name, model) IN (
                   SELECT tenant, name, model FROM watched WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
               RETURNING *""",
            most, LOOKED_AGAIN,
        )  # fmt: skip
        return [_watched(row) for row in found]

    async def keep(self, one: Watched, after: timedelta) -> None:
        """What is known of it now, and when it is looked at again. Nothing when it was set anew, renewed, or looked at by somebody
        else since it was claimed."""
        signals = json.dumps({name: asdict(each) for name, each in one.signals.items()})
        await self._pool.execute(
            """UPDATE watched SET due = now() + $4, job = $5, rounds = $6, reference = $7, signals = $8, reported = $9, alarmed = $10,
               alarm = $11, asked = $12, baseline = $14, mark = gen_random_uuid()
               WHERE tenant = $1 AND name = $2 AND model = $3 AND mark = $13""",
            one.tenant, one.name, one.model, after, one.job, one.rounds,
            json.dumps(one.reference) if one.reference is not None else None, signals, one.reported, one.alarmed, one.alarm,
            one.asked, one.mark, json.dumps(one.baseline),
        )  # fmt: skip


def _probe(row: asyncpg.Record) -> Probe:
    return Probe(row["tenant"], row["name"], row["spec"], Actor(row["key_id"], row["account"]))


def _watched(row: asyncpg.Record) -> Watched:
    return Watched(
        tenant=row["tenant"],
        name=row["name"],
        model=row["model"],
        job=row["job"],
        rounds=row["rounds"],
        reference=json.loads(row["reference"]) if row["reference"] is not None else None,
        baseline=json.loads(row["baseline"]),
        signals={name: Detector(**said) for name, said in json.loads(row["signals"]).items()},
        reported=row["reported"],
        alarmed=row["alarmed"],
        alarm=row["alarm"],
        asked=row["asked"],
        mark=row["mark"],
    )
