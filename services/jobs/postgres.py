"""Jobs in PostgreSQL. Each change is one transaction, its notes and webhooks with it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from services.jobs import events, life
from services.jobs.life import Fault, Job, JobUnknown, Outcome, QueueFull, State
from services.jobs.store import EVENTS, TICKETS, Delivery, Note

WITHOUT_RESULT = """id, parent, line, custom_id, request_id, kind, account, key_id, state, priority, created, ready, deadline,
    started, ended, keep, attempts, total, succeeded, failed, webhook, metadata, code, reason, message"""
COLUMNS = f"{WITHOUT_RESULT}, request, result"
OURS = ", ".join(f"job.{name.strip()}" for name in WITHOUT_RESULT.split(","))

# Tenants by a loose scan of the index of what waits; of each as many as it has room for, those with the fewest running first.
CLAIM = f"""
WITH RECURSIVE tenants AS (
    (SELECT tenant FROM job WHERE state = 1 AND kind <> 'batch' ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT tenant FROM job WHERE state = 1 AND kind <> 'batch' AND tenant > tenants.tenant
            ORDER BY tenant LIMIT 1)
    FROM tenants WHERE tenants.tenant IS NOT NULL
), busy AS (
    SELECT tenant, (SELECT count(*) FROM job WHERE job.tenant = tenants.tenant AND state = 2 AND kind <> 'batch') AS running
    FROM tenants WHERE tenant IS NOT NULL
), picked AS (
    SELECT turn.id FROM busy CROSS JOIN LATERAL (
        SELECT id, row_number() OVER () AS place FROM (
            SELECT id FROM job
            WHERE tenant = busy.tenant AND state = 1 AND kind <> 'batch' AND ready <= now()
            ORDER BY priority DESC, ready, id LIMIT least($2, greatest($3 - busy.running, 0))
            FOR UPDATE SKIP LOCKED
        ) AS waiting
    ) AS turn ORDER BY busy.running + turn.place LIMIT $2
)
UPDATE job SET state = 2, worker = $1, lease = now() + $4, attempts = attempts + 1, started = coalesce(started, now())
FROM picked WHERE job.id = picked.id RETURNING {OURS}, job.request, NULL::bytea AS result
"""

FINISH = f"""
WITH done AS (
    SELECT * FROM unnest($2::uuid[], $3::smallint[], $4::bytea[], $5::int[], $6::text[], $7::text[], $8::timestamptz[])
        AS t(id, state, result, code, reason, message, ready)
)
UPDATE job SET state = done.state, result = done.result, code = done.code, reason = done.reason, message = done.message,
    ready = coalesce(done.ready, job.ready), worker = NULL, lease = NULL,
    ended = CASE WHEN done.state > 2 THEN now() END,
    succeeded = CASE WHEN done.state = 3 THEN 1 ELSE 0 END,
    failed = CASE WHEN done.state IN (4, 6) THEN 1 ELSE 0 END
FROM done WHERE job.id = done.id AND job.worker = $1 AND job.state = 2
RETURNING {OURS}, ''::bytea AS request, NULL::bytea AS result
"""

# A batch has what its lines have; it ends with the last of them.
PARENTS = f"""
WITH sums AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS t(id, good, bad) ORDER BY id
), held AS (
    SELECT job.id FROM job JOIN sums USING (id) ORDER BY job.id FOR UPDATE
)
UPDATE job SET succeeded = job.succeeded + good, failed = job.failed + bad, started = coalesce(job.started, now()),
    state = CASE WHEN job.state > 2 THEN job.state WHEN job.succeeded + job.failed + good + bad >= job.total THEN 3 ELSE 2 END,
    ended = CASE WHEN job.state > 2 THEN job.ended
                 WHEN job.succeeded + job.failed + good + bad >= job.total THEN now() END
FROM sums JOIN held USING (id) WHERE job.id = sums.id
RETURNING {OURS}, ''::bytea AS request, NULL::bytea AS result
"""


class PostgresStore:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

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
                    return _job(row)
            if len(jobs) > 1 or most_waiting < 100_000:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM job WHERE tenant = $1 AND state = 1 AND kind <> 'batch'", first.tenant
                )
                if waiting + len(jobs) > most_waiting:
                    raise QueueFull(tenant=first.tenant, waiting=waiting, most=most_waiting)
            await connection.copy_records_to_table("job", records=[_record(one) for one in jobs], columns=_RECORD)
            if refused := [one for one in jobs if one.state.over]:
                await self._ended(connection, refused)
                first = await self._held(connection, first.id)
            waits = [one for one in jobs if one.kind != "batch" and not one.state.over]
            tickets = [(TICKETS, one.tenant, b"", one.ready) for one in waits]
            await connection.copy_records_to_table(
                "outbox", records=tickets[:MOST_TICKETS], columns=["topic", "key", "body", "due"]
            )
        return first

    async def job(self, job_id: UUID) -> Job | None:
        row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM job WHERE id = $1", job_id)
        return None if row is None else _job(row)

    async def listed(self, account: str, state: State | None, kind: str, after: UUID | None, most: int) -> list[Job]:
        rows = await self._pool.fetch(
            f"""SELECT {WITHOUT_RESULT}, ''::bytea AS request, NULL::bytea AS result FROM job
                WHERE parent IS NULL AND ($1 = '' OR account = $1 OR account LIKE $1 || '/%') AND ($2::int IS NULL OR state = $2)
                AND ($3 = '' OR kind = $3)
                AND ($4::uuid IS NULL OR (created, id) < (SELECT created, id FROM job WHERE id = $4))
                ORDER BY created DESC, id DESC LIMIT $5""",
            account, state, kind, after, most,
        )  # fmt: skip
        return [_job(row) for row in rows]

    async def lines(self, parent: UUID, after: int, most: int) -> list[Job]:
        rows = await self._pool.fetch(
            f"SELECT {WITHOUT_RESULT}, ''::bytea AS request, result FROM job WHERE parent = $1 AND line > $2 ORDER BY line LIMIT $3",
            parent, after, most,
        )  # fmt: skip
        return [_job(row) for row in rows]

    async def claim(self, worker: UUID, most: int, per_tenant: int, lease: timedelta) -> list[Job]:
        return [_job(row) for row in await self._pool.fetch(CLAIM, worker, most, per_tenant, lease)]

    async def beat(self, worker: UUID, lease: timedelta) -> set[UUID]:
        rows = await self._pool.fetch(
            "UPDATE job SET lease = now() + $2 WHERE worker = $1 AND state = 2 RETURNING id", worker, lease
        )
        return {row["id"] for row in rows}

    async def finish(self, worker: UUID, outcomes: Sequence[Outcome]) -> list[Job]:
        faults = [one.fault or Fault(0, "", "") for one in outcomes]
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                FINISH, worker, [one.job_id for one in outcomes], [int(one.state) for one in outcomes],
                [one.result for one in outcomes], [fault.code for fault in faults], [fault.reason for fault in faults],
                [fault.message for fault in faults], [one.ready for one in outcomes],
            )  # fmt: skip
            written = [_job(row) for row in rows]
            again = [(TICKETS, one.tenant, b"", one.ready) for one in written if not one.state.over]
            if again:
                await connection.copy_records_to_table("outbox", records=again, columns=["topic", "key", "body", "due"])
            await self._ended(connection, [one for one in written if one.state.over])
        return written

    async def cancel(self, job_id: UUID) -> Job:
        async with self._pool.acquire() as connection, connection.transaction():
            found = await self._held(connection, job_id)
            life.cancellable(found)
            if found.kind == "batch":
                await connection.execute(
                    "UPDATE job SET state = 5, ended = now(), worker = NULL, lease = NULL WHERE parent = $1 AND state <= 2",
                    job_id,
                )
            row = await connection.fetchrow(
                f"UPDATE job SET state = 5, ended = now(), worker = NULL, lease = NULL WHERE id = $1 RETURNING {COLUMNS}",
                job_id,
            )
            made = _job(row)
            await self._told(connection, [made])
        return made

    async def retry(self, job_id: UUID) -> Job:
        again = "state = 1, attempts = 1, ready = now(), deadline = greatest(deadline, now() + interval '1 day'), ended = NULL"
        async with self._pool.acquire() as connection, connection.transaction():
            found = await self._held(connection, job_id)
            if found.kind != "batch":
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
                if not (many := int(done.split()[-1])):
                    life.retriable(found)
                await self._reopened(connection, job_id, many)
                row = await connection.fetchrow(f"SELECT {COLUMNS} FROM job WHERE id = $1", job_id)
            await connection.execute(
                "INSERT INTO outbox (topic, key, body, due) SELECT $1, $2, '', now() FROM generate_series(1, $3)",
                TICKETS, found.tenant, min(many, MOST_TICKETS),
            )  # fmt: skip
        return _job(row)

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
            await self._ended(connection, [_job(row) for row in rows])
            old = await connection.execute(
                "DELETE FROM job WHERE id IN (SELECT id FROM job WHERE parent IS NULL AND ended IS NOT NULL AND ended + keep < $1 LIMIT 100)",
                now,
            )
            changed = int(lost.split()[-1]) + len(rows) + int(old.split()[-1])
        return changed

    def outbox(self, most: int) -> "PostgresOutbox":
        return PostgresOutbox(self._pool, most)

    async def deliveries(self, most: int, within: timedelta) -> list[Delivery]:
        rows = await self._pool.fetch(
            """UPDATE delivery SET due = now() + $2, attempts = attempts + 1 WHERE id IN (
                   SELECT id FROM delivery WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
               RETURNING id, job, tenant, url, body, attempts""",
            most,
            within,
        )
        return [
            Delivery(row["id"], row["job"], row["tenant"], row["url"], row["body"], row["attempts"]) for row in rows
        ]

    async def delivered(self, delivery: Delivery, status: int, error: str, again: datetime | None) -> None:
        await self._pool.execute(
            """UPDATE delivery SET status = $2, error = $3, due = $4,
               delivered = CASE WHEN $2 BETWEEN 200 AND 299 THEN now() END WHERE id = $1""",
            delivery.id, status, error, again,
        )  # fmt: skip

    async def depth(self) -> tuple[int, float]:
        row = await self._pool.fetchrow(
            """SELECT count(*) AS many, coalesce(extract(epoch FROM now() - min(ready)), 0)::float AS age
               FROM job WHERE state = 1 AND kind <> 'batch' AND ready <= now()"""
        )
        assert row is not None  # an aggregate always has one
        return int(row["many"]), float(row["age"])

    async def _held(self, connection: Any, job_id: UUID) -> Job:
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM job WHERE id = $1 FOR UPDATE", job_id)
        if row is None:
            raise JobUnknown(job_id=str(job_id))
        return _job(row)

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
            over += [one for one in map(_job, rows) if one.state is State.SUCCEEDED]
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


MOST_TICKETS = 1000
"""Tickets wake workers up, and a worker that is up looks for more by itself: a batch of 100,000 needs no more."""


class PostgresOutbox:
    """Rows are locked and deleted within a transaction that ends with the block."""

    def __init__(self, pool: asyncpg.Pool, most: int) -> None:
        self._pool, self._most = pool, most
        self._connection: Any = None
        self._transaction: Any = None

    async def __aenter__(self) -> Sequence[Note]:
        self._connection = await self._pool.acquire()
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        rows = await self._connection.fetch(
            """DELETE FROM outbox WHERE id IN (
                   SELECT id FROM outbox WHERE due <= now() ORDER BY due, id LIMIT $1 FOR UPDATE SKIP LOCKED)
               RETURNING topic, key, body""",
            self._most,
        )
        return [Note(row["topic"], row["key"], row["body"]) for row in rows]

    async def __aexit__(self, *error: object) -> None:
        try:
            await (self._transaction.rollback() if error[0] is not None else self._transaction.commit())
        finally:
            await self._pool.release(self._connection)


_RECORD = ["id", "parent", "line", "custom_id", "request_id", "kind", "account", "tenant", "key_id", "state", "priority",
           "created", "ready", "deadline", "ended", "keep", "total", "failed", "webhook", "metadata", "code", "reason", "message",
           "request"]  # fmt: skip


def _record(job: Job) -> tuple[Any, ...]:
    fault = job.fault or Fault(0, "", "")
    return (job.id, job.parent, job.line, job.custom_id, job.request_id, job.kind, job.account, job.tenant, job.key_id,
            int(job.state), job.priority, job.created, job.ready, job.deadline, job.ended, job.keep, job.total, job.failed,
            job.webhook, json.dumps(dict(job.metadata)), fault.code, fault.reason, fault.message, job.request)  # fmt: skip


def _job(row: Any) -> Job:
    said = row["code"], row["reason"], row["message"]
    return Job(
        id=row["id"], kind=row["kind"], account=row["account"], key_id=row["key_id"], created=row["created"],
        ready=row["ready"], deadline=row["deadline"], request=row["request"], state=State(row["state"]),
        parent=row["parent"], line=row["line"] or 0, custom_id=row["custom_id"], request_id=row["request_id"],
        priority=row["priority"], keep=row["keep"], started=row["started"], ended=row["ended"],
        attempts=row["attempts"], total=row["total"], succeeded=row["succeeded"], failed=row["failed"],
        webhook=row["webhook"], metadata=json.loads(row["metadata"]), fault=Fault(*said) if any(said) else None,
        result=row["result"],
    )  # fmt: skip
