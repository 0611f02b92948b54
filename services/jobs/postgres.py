"""Jobs in PostgreSQL. Each change is one transaction, its notes and webhooks with it."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from services.jobs import events, life, turns
from services.jobs.life import ANSWER, Fault, Job, JobIdReused, JobUnknown, Outcome, QueueFull, RequestIdReused, State
from services.jobs.rows import (
    CLAIM,
    COLUMNS,
    ERASE_LINES,
    FINISH,
    KEEP,
    PARENTS,
    RECORD,
    WITHOUT_RESULT,
    read,
    record,
)
from services.jobs.store import EVENTS, TICKETS, Delivery, Note
from services.runtime.postgres import affected

MOST_TICKETS = 1000
"""Tickets wake workers up, and a worker that is up looks for more by itself: a batch of 100,000 needs no more."""
COUNTED_FOR_S, REFUSED_FOR_S = 5.0, 1.0
"""A tenant's jobs that wait are counted again after so long, where there seems to be room and where there is none."""


WAITING = "SELECT count(*) FROM job WHERE tenant = $1 AND state = 1 AND kind <> 'batch'"


PAST = """SELECT id FROM job WHERE parent IS NULL AND ended IS NOT NULL AND timezone('UTC', ended) + keep < timezone('UTC', $1::timestamptz)
LIMIT 100"""
"""What was kept for as long as it should be, as the index `job_kept` has it."""


class PostgresStore:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, tuple[int, float]] = {}
        """By tenant: how many wait, and when they were counted."""

    async def add(self, jobs: Sequence[Job], most_waiting: int) -> Job:
        first = jobs[0]
        async with self._pool.acquire() as connection, connection.transaction():
            if first.request_id:
                await connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtext($1))", f"{first.account}/{first.request_id}"
                )
                row = await connection.fetchrow(
                    f"SELECT {COLUMNS} FROM job WHERE account = $1 AND request_id = $2", first.account, first.request_id
                )
                if row is not None:
                    return _same(read(row), first)
            waits = [one for one in jobs if not one.many and one.state is State.QUEUED]
            counted = await self._room(connection, first.tenant, len(waits), most_waiting)
            try:
                await connection.copy_records_to_table("job", records=[record(one) for one in jobs], columns=RECORD)
            except asyncpg.UniqueViolationError:  # an id that its caller chose, and another's job has
                raise RequestIdReused(request_id=first.request_id) from None
            if refused := [one for one in jobs if one.state.over]:
                await self._ended(connection, refused)
                first = await self._held(connection, first.id)
            tickets = [(TICKETS, one.tenant, b"", one.ready) for one in waits]
            await connection.copy_records_to_table(
                "outbox", records=tickets[:MOST_TICKETS], columns=["topic", "key", "body", "due"]
            )
        self._waiting[first.tenant] = counted
        return first

    async def keep(self, answer: Job) -> None:
        if answer.conversation is None:  # as nearly all are: one statement needs no transaction around it
            made = await self._pool.fetchval(KEEP, *record(answer))
        else:
            async with self._pool.acquire() as connection, connection.transaction():
                if (made := await connection.fetchval(KEEP, *record(answer))) is not None:
                    await turns.added(connection, [answer])
        if made is not None:
            return
        kept = await self.job(answer.id)
        if kept is None or (kept.account, kept.digest) != (answer.account, answer.digest):
            raise JobIdReused(job_id=answer.id)

    async def say(self, answer: Job) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await turns.added(connection, [answer])

    async def job(self, job_id: UUID) -> Job | None:
        row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM job WHERE id = $1", job_id)
        return None if row is None else read(row)

    async def listed(self, account: str, state: State | None, kind: str, after: UUID | None, most: int) -> list[Job]:
        among = "kind = 'answer'" if kind == ANSWER else "kind <> 'answer'"  # as the indexes have it
        rows = await self._pool.fetch(
            f"""SELECT {WITHOUT_RESULT}, ''::bytea AS request, NULL::bytea AS result FROM job
                WHERE parent IS NULL AND {among} AND ($1 = '' OR account = $1 OR account LIKE $1 || '/%')
                AND ($2::int IS NULL OR state = $2) AND ($3 = '' OR CASE WHEN evaluation THEN 'evaluation' ELSE kind END = $3)
                AND ($4::uuid IS NULL OR (created, id) < (SELECT created, id FROM job WHERE id = $4))
                ORDER BY created DESC, id DESC LIMIT $5""",
            account, state, kind, after, most,
        )  # fmt: skip
        return [read(row) for row in rows]

    async def lines(self, parent: UUID, after: int, most: int, with_request: bool = False) -> list[Job]:
        request = "request" if with_request else "''::bytea AS request"
        rows = await self._pool.fetch(
            f"SELECT {WITHOUT_RESULT}, {request}, result FROM job WHERE parent = $1 AND line > $2 ORDER BY line LIMIT $3",
            parent, after, most,
        )  # fmt: skip
        return [read(row) for row in rows]

    async def claim(self, worker: UUID, most: int, per_tenant: int, lease: timedelta) -> list[Job]:
        return [read(row) for row in await self._pool.fetch(CLAIM, worker, most, per_tenant, lease)]

    async def beat(self, worker: UUID, lease: timedelta, jobs: Collection[UUID]) -> set[UUID]:
        rows = await self._pool.fetch(
            "UPDATE job SET lease = now() + $2 WHERE id = ANY($3::uuid[]) AND worker = $1 AND state = 2 RETURNING id",
            worker, lease, list(jobs),
        )  # fmt: skip
        return {row["id"] for row in rows}

    async def held(self, job_id: UUID, worker: UUID, lease: timedelta) -> bool:
        done = await self._pool.execute(
            "UPDATE job SET lease = now() + $3 WHERE id = $1 AND worker = $2 AND state = 2", job_id, worker, lease
        )
        return done == "UPDATE 1"

    async def show(self, worker: UUID, partials: Mapping[UUID, str]) -> None:
        await self._pool.execute(
            """UPDATE job SET partial = t.partial FROM unnest($2::uuid[], $3::text[]) AS t(id, partial)
               WHERE job.id = t.id AND job.worker = $1 AND job.state = 2""",
            worker, list(partials), list(partials.values()),
        )  # fmt: skip

    async def finish(self, worker: UUID, outcomes: Sequence[Outcome]) -> list[Job]:
        faults = [one.fault or Fault(0, "", "") for one in outcomes]
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                FINISH, worker, [one.job_id for one in outcomes], [int(one.state) for one in outcomes],
                [one.result for one in outcomes], [fault.code for fault in faults], [fault.reason for fault in faults],
                [fault.message for fault in faults], [one.ready for one in outcomes],
                [json.dumps(dict(one.scores)) for one in outcomes],
            )  # fmt: skip
            written = [read(row) for row in rows]
            await self._said(connection, [one for one in written if one.state is State.SUCCEEDED and one.conversation])
            again = [(TICKETS, one.tenant, b"", one.ready) for one in written if not one.state.over]
            if again:
                await connection.copy_records_to_table("outbox", records=again, columns=["topic", "key", "body", "due"])
            await self._ended(connection, [one for one in written if one.state.over])
        return written

    async def cancel(self, job_id: UUID) -> Job:
        async with self._pool.acquire() as connection, connection.transaction():
            found = await self._held(connection, job_id)
            life.cancellable(found)
            if found.many:
                await connection.execute(
                    "UPDATE job SET state = 5, ended = now(), worker = NULL, lease = NULL WHERE parent = $1 AND state <= 2",
                    job_id,
                )
            row = await connection.fetchrow(
                f"UPDATE job SET state = 5, ended = now(), worker = NULL, lease = NULL WHERE id = $1 RETURNING {COLUMNS}",
                job_id,
            )
            made = read(row)
            await self._told(connection, [made])
        return made

    async def retry(self, job_id: UUID) -> Job:
        again = "state = 1, attempts = 1, ready = now(), deadline = greatest(deadline, now() + interval '1 day'), ended = NULL"
        async with self._pool.acquire() as connection, connection.transaction():
            found = await self._held(connection, job_id)
            if not found.many:
                life.retriable(found)
                row = await connection.fetchrow(
                    f"UPDATE job SET {again}, failed = 0 WHERE id = $1 RETURNING {COLUMNS}", job_id
                )
                if found.parent is not None:
                    await self._reopened(connection, found.parent, 1)
                many = 1
            else:
                done = await connection.execute(
                    f"UPDATE job SET {again}, failed = 0 WHERE parent = $1 AND state IN (4, 6)", job_id
                )
                if not (many := affected(done)):
                    life.retriable(found)
                await self._reopened(connection, job_id, many)
                row = await connection.fetchrow(f"SELECT {COLUMNS} FROM job WHERE id = $1", job_id)
            await connection.execute(
                "INSERT INTO outbox (topic, key, body, due) SELECT $1, $2, '', now() FROM generate_series(1, $3)",
                TICKETS, found.tenant, min(many, MOST_TICKETS),
            )  # fmt: skip
        return read(row)

    async def delete(self, job_id: UUID) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            life.deletable(await self._held(connection, job_id))
            await connection.execute("DELETE FROM job WHERE id = $1", job_id)

    async def erase(self, tenant: str, subject: str) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            if not subject:
                many = await connection.fetchval("SELECT count(*) FROM job WHERE tenant = $1", tenant)
                for table, column in (("job", "tenant"), ("delivery", "tenant"), ("outbox", "key")):
                    await connection.execute(f"DELETE FROM {table} WHERE {column} = $1", tenant)
                self._waiting.pop(tenant, None)
                return int(many)
            alone = await connection.execute(
                "DELETE FROM job WHERE tenant = $1 AND subject = $2 AND parent IS NULL", tenant, subject
            )
            rows = await connection.fetch(ERASE_LINES, tenant, subject)
            await self._ended(connection, [read(row) for row in rows if not State(row["before"]).over])
            turned = Counter(row["parent"] for row in rows if row["before"] == State.SUCCEEDED)
            for parent in sorted(turned):
                await connection.execute(
                    "UPDATE job SET succeeded = succeeded - $2, failed = failed + $2 WHERE id = $1",
                    parent,
                    turned[parent],
                )
        return affected(alone) + len(rows)

    async def scores(self, parent: UUID) -> dict[str, float]:
        rows = await self._pool.fetch(
            """SELECT score.key AS name, avg(score.value::float) AS mean FROM job, jsonb_each_text(job.scores) AS score
               WHERE job.parent = $1 AND job.state = 3 GROUP BY score.key ORDER BY score.key""",
            parent,
        )
        return {row["name"]: row["mean"] for row in rows}

    async def sweep(self, now: datetime) -> int:
        changed = 0
        async with self._pool.acquire() as connection, connection.transaction():
            lost = await connection.execute(
                """UPDATE job SET state = 1, worker = NULL, lease = NULL WHERE id IN (
                       SELECT id FROM job WHERE state = 2 AND kind <> 'batch' AND lease < $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)""",
                now,
            )
            rows = await connection.fetch(
                f"""UPDATE job SET state = 4, ended = $1, failed = 1, code = 4, reason = 'DEADLINE', message = 'its deadline has passed'
                    WHERE id IN (SELECT id FROM job WHERE state = 1 AND kind <> 'batch' AND deadline < $1 LIMIT 1000
                                 FOR UPDATE SKIP LOCKED)
                    RETURNING {WITHOUT_RESULT}, ''::bytea AS request, NULL::bytea AS result""",
                now,
            )
            await self._ended(connection, [read(row) for row in rows])
            old = await connection.execute(f"DELETE FROM job WHERE id IN ({PAST})", now)
            changed = affected(lost) + len(rows) + affected(old)
        return changed

    @asynccontextmanager
    async def outbox(self, most: int) -> AsyncIterator[Sequence[Note]]:
        """Rows are locked and deleted within a transaction that ends with the block."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                """DELETE FROM outbox WHERE id IN (
                       SELECT id FROM outbox WHERE due <= now() ORDER BY due, id LIMIT $1 FOR UPDATE SKIP LOCKED)
                   RETURNING topic, key, body""",
                most,
            )
            yield [Note(row["topic"], row["key"], row["body"]) for row in rows]

    async def deliveries(self, most: int, within: timedelta) -> list[Delivery]:
        rows = await self._pool.fetch(
            """UPDATE delivery SET due = now() + $2, attempts = attempts + 1 WHERE id IN (
                   SELECT id FROM delivery WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
               RETURNING *""",
            most,
            within,
        )
        return [_delivery(row) for row in rows]

    async def delivered(self, delivery: Delivery, status: int, error: str, again: datetime | None) -> None:
        await self._pool.execute(
            """UPDATE delivery SET status = $2, error = $3, due = $4,
               delivered = CASE WHEN $2 BETWEEN 200 AND 299 THEN now() END WHERE id = $1""",
            delivery.id, status, error, again,
        )  # fmt: skip

    async def log(self, job_id: UUID) -> list[Delivery]:
        rows = await self._pool.fetch("SELECT * FROM delivery WHERE job = $1", job_id)
        return sorted(map(_delivery, rows), key=lambda one: str(json.loads(one.body)["time"]))

    async def depth(self) -> tuple[int, float]:
        row = await self._pool.fetchrow(
            """SELECT count(*) AS many, coalesce(extract(epoch FROM now() - min(ready)), 0)::float AS age
               FROM job WHERE state = 1 AND kind <> 'batch' AND ready <= now()"""
        )
        assert row is not None  # an aggregate always has one
        return int(row["many"]), float(row["age"])

    async def _room(self, connection: Any, tenant: str, more: int, most: int) -> tuple[int, float]:
        """How many of a tenant's jobs wait once `more` do, and when they were counted.

        Raises:
            QueueFull
        """
        now = time.monotonic()
        waiting, counted = self._waiting.get(tenant, (0, float("-inf")))
        if now - counted > (COUNTED_FOR_S if waiting + more <= most else REFUSED_FOR_S):
            waiting, counted = int(await connection.fetchval(WAITING, tenant)), now
            self._waiting[tenant] = waiting, counted
        if waiting + more > most:
            raise QueueFull(tenant=tenant, waiting=waiting, most=most)
        return waiting + more, counted

    async def _held(self, connection: Any, job_id: UUID) -> Job:
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM job WHERE id = $1 FOR UPDATE", job_id)
        if row is None:
            raise JobUnknown(job_id=str(job_id))
        return read(row)

    async def _said(self, connection: Any, jobs: Sequence[Job]) -> None:
        """Adds what they asked and were answered to their conversations."""
        if jobs:
            found = f"SELECT {COLUMNS} FROM job WHERE id = ANY($1::uuid[])"
            await turns.added(
                connection, [read(row) for row in await connection.fetch(found, [one.id for one in jobs])]
            )

    async def _reopened(self, connection: Any, parent: UUID, lines: int) -> None:
        await connection.execute(
            "UPDATE job SET failed = failed - $2, state = 2, ended = NULL WHERE id = $1 AND state <> 5", parent, lines
        )

    async def _ended(self, connection: Any, jobs: Sequence[Job]) -> None:
        """Counts lines up to their batches, and tells of what has ended by it."""
        sums: dict[UUID, list[int]] = {}
        for one in jobs:
            if one.parent is not None:
                sums.setdefault(one.parent, [0, 0])[one.state is not State.SUCCEEDED] += 1
        over = [one for one in jobs if one.parent is None]
        if sums:
            counts = [(key, *sums[key]) for key in sorted(sums)]
            rows = await connection.fetch(PARENTS, *(list(column) for column in zip(*counts, strict=True)))
            over += [one for one in map(read, rows) if one.state is State.SUCCEEDED]
        await self._told(connection, over)

    async def _told(self, connection: Any, jobs: Sequence[Job]) -> None:
        now = datetime.now(UTC)
        for one in jobs:
            body = events.ended(one, one.ended or now)
            await connection.execute(
                "INSERT INTO outbox (topic, key, body, due) VALUES ($1, $2, $3, now())", EVENTS, one.tenant, body
            )
            if one.webhook:
                await connection.execute(
                    "INSERT INTO delivery (id, job, tenant, url, body, due) VALUES ($1, $2, $3, $4, $5, now()) ON CONFLICT DO NOTHING",
                    uuid5(NAMESPACE_URL, json.loads(body)["id"]), one.id, one.tenant, one.webhook, body,
                )  # fmt: skip


def _same(kept: Job, handed: Job) -> Job:
    """
    Raises:
        RequestIdReused
    """
    if kept.digest and kept.digest != handed.digest:
        raise RequestIdReused(request_id=handed.request_id)
    return kept


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row["id"], row["job"], row["tenant"], row["url"], row["body"], row["attempts"], row["status"], row["error"],
        row["delivered"], row["due"],
    )  # fmt: skip
