"""Requests that were kept, what people decided about them, and what they made of answers, in PostgreSQL."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from services.registry.audit import Change
from services.registry.logbook import logged
from services.registry.versions import Actor
from services.runtime.errors import Failure, Kind

WAITING = "waiting"


class RecordUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "RECORD_UNKNOWN"
    text = "there is no record {record_id}"
    field = "record_id"


class NotForReview(Failure):
    kind, reason = Kind.PRECONDITION, "NOT_FOR_REVIEW"
    text = "record {record_id} was kept, and nobody is asked about it"


class DecidedAlready(Failure):
    kind, reason = Kind.PRECONDITION, "DECIDED_ALREADY"
    text = "record {record_id} is {state} already"


@dataclass(frozen=True, slots=True)
class Record:
    id: UUID
    tenant: str
    trace: str
    record: bytes
    """As its contract says it."""
    at: datetime
    expires: datetime
    review: str = ""
    reviewer: str = ""
    reason: str = ""
    correction: str = ""
    decided: datetime | None = None
    number: int = 0
    subject: str = ""
    """Digest of the end user who asked."""


@dataclass(frozen=True, slots=True)
class Feedback:
    tenant: str
    trace: str
    feedback: bytes
    """As its contract says it."""
    key_id: str
    at: datetime
    expires: datetime
    number: int = 0


class Records:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, one: Record) -> None:
        await self._pool.execute(
            "INSERT INTO record (id, tenant, trace, record, review, at, expires, subject) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            one.id, one.tenant, one.trace, one.record, one.review, one.at, one.expires, one.subject,
        )  # fmt: skip

    async def record(self, tenant: str, name: str) -> Record:
        """By its id, or by its trace: of several the newest.

        Raises:
            RecordUnknown
        """
        row = None
        if len(name) == len(str(UUID(int=0))):
            row = await self._pool.fetchrow("SELECT * FROM record WHERE tenant = $1 AND id = $2", tenant, UUID(name))
        row = row or await self._pool.fetchrow(
            "SELECT * FROM record WHERE tenant = $1 AND trace = $2 ORDER BY number DESC LIMIT 1", tenant, name
        )
        if row is None:
            raise RecordUnknown(record_id=name)
        return _record(row)

    async def listed(self, tenant: str, review: str, below: int, most: int) -> list[Record]:
        """The newest first."""
        found = await self._pool.fetch(
            """SELECT * FROM record WHERE tenant = $1 AND ($2 = '' OR review = $2) AND ($3 = 0 OR number < $3)
               ORDER BY number DESC LIMIT $4""",
            tenant, review, below, most,
        )  # fmt: skip
        return [_record(row) for row in found]

    async def decide(
        self, tenant: str, record_id: UUID, review: str, by: Actor, reason: str, correction: str, at: datetime
    ) -> Record:
        """
        Raises:
            RecordUnknown, NotForReview, DecidedAlready
        """
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                "SELECT * FROM record WHERE tenant = $1 AND id = $2 FOR UPDATE", tenant, record_id
            )
            if row is None:
                raise RecordUnknown(record_id=record_id)
            if not row["review"]:
                raise NotForReview(record_id=record_id)
            if row["review"] != WAITING:
                raise DecidedAlready(record_id=record_id, state=row["review"])
            await connection.execute(
                "UPDATE record SET review = $2, reviewer = $3, reason = $4, correction = $5, decided = $6 WHERE id = $1",
                record_id, review, by.key_id, reason, correction, at,
            )  # fmt: skip
            said = {"decision": review, "trace": row["trace"]}
            await logged(connection, Change(tenant, by, at, "review.decide", f"record {record_id}", None, said))
        made = _record(row)
        return replace(made, review=review, reviewer=by.key_id, reason=reason, correction=correction, decided=at)

    async def say(self, one: Feedback) -> None:
        await self._pool.execute(
            "INSERT INTO feedback (tenant, trace, feedback, key_id, at, expires) VALUES ($1, $2, $3, $4, $5, $6)",
            one.tenant, one.trace, one.feedback, one.key_id, one.at, one.expires,
        )  # fmt: skip

    async def said(self, tenant: str, trace: str, below: int, most: int) -> list[Feedback]:
        """The newest first."""
        found = await self._pool.fetch(
            """SELECT * FROM feedback WHERE tenant = $1 AND ($2 = '' OR trace = $2) AND ($3 = 0 OR number < $3)
               ORDER BY number DESC LIMIT $4""",
            tenant, trace, below, most,
        )  # fmt: skip
        return [
            Feedback(
                row["tenant"], row["trace"], row["feedback"], row["key_id"], row["at"], row["expires"], row["number"]
            )
            for row in found
        ]

    async def forget(self, now: datetime) -> None:
        """What need not be kept any longer; an answer that waits for a person is."""
        await self._pool.execute("DELETE FROM record WHERE expires < $1 AND review <> $2", now, WAITING)
        await self._pool.execute("DELETE FROM feedback WHERE expires < $1", now)


def _record(row: asyncpg.Record) -> Record:
    return Record(
        row["id"], row["tenant"], row["trace"], row["record"], row["at"], row["expires"], row["review"], row["reviewer"],
        row["reason"], row["correction"], row["decided"], row["number"], row["subject"],
    )  # fmt: skip
