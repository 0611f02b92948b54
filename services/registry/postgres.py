"""The registry in PostgreSQL. Each change is one transaction, its entry in the audit log with it."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import asyncpg

from services.registry import audit, rows, versions
from services.registry.audit import Change, Entry
from services.registry.logbook import logged
from services.registry.rollouts import Tally
from services.registry.store import Artifact
from services.registry.versions import Actor, Label, LabelUnknown, Review, TooManyLabels, Version, VersionUnknown

NEWEST = "SELECT * FROM version WHERE tenant = $1 AND name = $2 ORDER BY number DESC LIMIT 1"


class PostgresStore:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def propose(self, version: Version) -> tuple[Version, bool]:
        async with self._pool.acquire() as connection, connection.transaction():
            await _alone(connection, version.tenant, version.name)
            known = await connection.fetchrow(
                "SELECT * FROM version WHERE tenant = $1 AND name = $2 AND digest = $3",
                version.tenant, version.name, version.digest,
            )  # fmt: skip
            if known is not None:
                return (await _whole(connection, [known]))[0], False
            newest = await connection.fetchrow(NEWEST, version.tenant, version.name)
            made = versions.following(rows.version(newest, ()) if newest is not None else None, version)
            await connection.execute(
                """INSERT INTO version (tenant, name, number, kind, digest, content, includes, parent, owner, why, author, account, created)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)""",
                made.tenant, made.name, made.number, made.kind, made.digest, versions.canonical(made.content).decode(),
                json.dumps(dict(made.includes)), made.parent, made.owner, made.why, made.author.key_id,
                made.author.account, made.created,
            )  # fmt: skip
            await logged(connection, audit.proposed(made))
        return made, True

    async def review(self, tenant: str, name: str, number: int, review: Review, actor: Actor) -> Version:
        async with self._pool.acquire() as connection, connection.transaction():
            await _alone(connection, tenant, name)
            found = await _version(connection, tenant, name, number)
            if found is None:
                raise VersionUnknown(name=name, version=number)
            made = versions.reviewed(found, review)
            await connection.execute(
                """INSERT INTO review (tenant, name, number, reviewer, approved, note, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (tenant, name, number, reviewer) DO UPDATE SET approved = $5, note = $6, at = $7""",
                tenant, name, number, review.reviewer, review.approved, review.note, review.at,
            )  # fmt: skip
            await logged(connection, audit.reviewed(made, review, actor))
        return made

    async def version(self, tenant: str, name: str, number: int) -> Version | None:
        return await _version(self._pool, tenant, name, number)

    async def digested(self, tenant: str, name: str, digest: str) -> Version | None:
        found = await self._pool.fetch(
            "SELECT * FROM version WHERE tenant = $1 AND name = $2 AND digest LIKE $3 || '%' LIMIT 1",
            tenant, name, digest,
        )  # fmt: skip
        return (await _whole(self._pool, found))[0] if found else None

    async def versions(self, tenant: str, name: str, below: int, most: int) -> list[Version]:
        found = await self._pool.fetch(
            """SELECT * FROM version WHERE tenant = $1 AND name = $2 AND ($3 = 0 OR number < $3)
               ORDER BY number DESC LIMIT $4""",
            tenant, name, below, most,
        )  # fmt: skip
        return await _whole(self._pool, found)

    async def artifacts(self, tenant: str, kind: str, after: str, most: int) -> list[Artifact]:
        found = await self._pool.fetch(
            """SELECT name, kind, max(number) AS newest FROM version WHERE tenant = $1 AND ($2 = '' OR kind = $2) AND name > $3
               GROUP BY name, kind ORDER BY name LIMIT $4""",
            tenant, kind, after, most,
        )  # fmt: skip
        names = [row["name"] for row in found]
        labels = defaultdict[str, list[Label]](list)
        for row in await self._pool.fetch(
            "SELECT * FROM label WHERE tenant = $1 AND name = ANY($2::text[]) ORDER BY label", tenant, names
        ):
            labels[row["name"]].append(rows.label(row))
        return [Artifact(row["name"], row["kind"], row["newest"], tuple(labels[row["name"]])) for row in found]

    async def label(self, tenant: str, name: str, label: str) -> Label | None:
        return await _label(self._pool, tenant, name, label)

    async def labels(self, tenant: str, name: str) -> list[Label]:
        found = await self._pool.fetch(
            "SELECT * FROM label WHERE tenant = $1 AND name = $2 ORDER BY label", tenant, name
        )
        return [rows.label(row) for row in found]

    async def move(self, label: Label) -> Label:
        async with self._pool.acquire() as connection, connection.transaction():
            await _alone(connection, label.tenant, label.name)
            before = await _label(connection, label.tenant, label.name, label.label)
            made = versions.moved(before, label)
            if before is None:
                count = await connection.fetchval(
                    "SELECT count(*) FROM label WHERE tenant = $1 AND name = $2", label.tenant, label.name
                )
                if count >= versions.MOST_LABELS:
                    raise TooManyLabels(name=label.name)
            await connection.execute(
                """INSERT INTO label (tenant, name, label, number, revision, rollout, moved_by, account, moved, why)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                   ON CONFLICT (tenant, name, label) DO UPDATE SET
                   number = $4, revision = $5, rollout = $6, moved_by = $7, account = $8, moved = $9, why = $10""",
                made.tenant, made.name, made.label, made.number, made.revision, rows.rollout(made.rollout),
                made.moved_by.key_id, made.moved_by.account, made.moved, made.why,
            )  # fmt: skip
            await logged(connection, audit.moved(before, made))
        return made

    async def drop(self, tenant: str, name: str, label: str, revision: int, actor: Actor, at: datetime) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await _alone(connection, tenant, name)
            before = await _label(connection, tenant, name, label)
            if before is None:
                raise LabelUnknown(name=name, label=label)
            versions.moved(before, replace(before, revision=revision))
            await connection.execute(
                "DELETE FROM label WHERE tenant = $1 AND name = $2 AND label = $3", tenant, name, label
            )
            await connection.execute(
                "DELETE FROM tally WHERE tenant = $1 AND name = $2 AND label = $3", tenant, name, label
            )
            await logged(connection, audit.dropped(before, actor, at))

    async def tally(self, label: Label, more: Mapping[int, Tally]) -> dict[int, Tally]:
        key = (label.tenant, label.name, label.label, label.rollout.began if label.rollout is not None else 0)
        async with self._pool.acquire() as connection, connection.transaction():
            for number, one in sorted(more.items()):
                await connection.execute(
                    """INSERT INTO tally (tenant, name, label, began, number, answers, failed, took)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, name, label, began, number) DO UPDATE SET
                       answers = tally.answers + $6, failed = tally.failed + $7, took = tally.took + $8""",
                    *key, number, one.answers, one.failed, one.took,
                )  # fmt: skip
            found = await connection.fetch(
                "SELECT * FROM tally WHERE tenant = $1 AND name = $2 AND label = $3 AND began = $4", *key
            )
        return {row["number"]: Tally(row["answers"], row["failed"], row["took"]) for row in found}

    async def append(self, change: Change) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await logged(connection, change)

    async def audited(self, tenant: str, after: int, most: int) -> list[Entry]:
        found = await self._pool.fetch(
            "SELECT sequence, json, hash FROM entry WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
            tenant, after, most,
        )  # fmt: skip
        return [Entry(row["sequence"], row["json"], row["hash"]) for row in found]


async def _alone(connection: Any, tenant: str, name: str) -> None:
    """Waits for others that change the same artifact, until the transaction's end."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant}\n{name}")


async def _version(source: Any, tenant: str, name: str, number: int) -> Version | None:
    found = await source.fetch(
        "SELECT * FROM version WHERE tenant = $1 AND name = $2 AND number = $3", tenant, name, number
    )
    return (await _whole(source, found))[0] if found else None


async def _whole(source: Any, found: Sequence[asyncpg.Record]) -> list[Version]:
    """With their reviews; all of one artifact."""
    if not found:
        return []
    said = await source.fetch(
        "SELECT * FROM review WHERE tenant = $1 AND name = $2 AND number = ANY($3::int[]) ORDER BY at, reviewer",
        found[0]["tenant"], found[0]["name"], [row["number"] for row in found],
    )  # fmt: skip
    return [rows.version(row, [one for one in said if one["number"] == row["number"]]) for row in found]


async def _label(source: Any, tenant: str, name: str, label: str) -> Label | None:
    row = await source.fetchrow(
        "SELECT * FROM label WHERE tenant = $1 AND name = $2 AND label = $3", tenant, name, label
    )
    return rows.label(row) if row is not None else None
