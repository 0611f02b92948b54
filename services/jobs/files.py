"""Files that batches are made of, in pieces, in PostgreSQL: a file is there whole or not at all."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from services.jobs.naming import names
from services.jobs.sweeping import AT_ONCE, forgotten
from services.runtime.errors import Failure, Kind

KEPT = timedelta(days=30)
UPLOADED_WITHIN = timedelta(hours=1)
MOST_BYTES = 10 << 30
"""Of all files of a tenant."""


class FileUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "FILE_UNKNOWN"
    text = "there is no file {file_id}"
    field = "file_id"


class FilesFull(Failure):
    kind, reason = Kind.EXHAUSTED, "FILES_FULL"
    text = "{tenant} keeps files of {most} bytes, and may not keep more"


class FileInfoMissing(Failure):
    kind, reason = Kind.INVALID, "FILE_INFO_MISSING"
    text = "nothing was said of the file: its info must come once"
    field = "info"


@dataclass(frozen=True, slots=True)
class File:
    id: UUID
    account: str
    name: str
    purpose: str
    size: int
    created: datetime
    expires: datetime


PAST = f"DELETE FROM file WHERE id IN (SELECT id FROM file WHERE expires < now() LIMIT {AT_ONCE})"
COLUMNS = "id, account, name, purpose, bytes, created, expires"


class Files:
    def __init__(self, pool: asyncpg.Pool, most_bytes: int = MOST_BYTES) -> None:
        self._pool, self._most = pool, most_bytes

    async def begin(self, account: str) -> UUID:
        """A file that nobody sees until [Files.complete][].

        Raises:
            FilesFull
        """
        made, now, tenant = uuid4(), datetime.now(UTC), account.partition("/")[0]
        kept = await self._pool.fetchval("SELECT coalesce(sum(bytes), 0)::bigint FROM file WHERE tenant = $1", tenant)
        if kept >= self._most:
            raise FilesFull(tenant=tenant, most=self._most)
        await self._pool.execute(
            "INSERT INTO file (id, account, tenant, created, expires) VALUES ($1, $2, $3, $4, $5)",
            made, account, tenant, now, now + UPLOADED_WITHIN,
        )  # fmt: skip
        return made

    async def add(self, file_id: UUID, number: int, piece: bytes) -> None:
        await self._pool.execute("INSERT INTO piece VALUES ($1, $2, $3)", file_id, number, piece)

    async def complete(self, file_id: UUID, name: str, purpose: str, keep: timedelta) -> File:
        row = await self._pool.fetchrow(
            f"""UPDATE file SET ready = true, name = $2, purpose = $3, expires = now() + $4,
                bytes = (SELECT coalesce(sum(length(body)), 0) FROM piece WHERE file = $1)
                WHERE id = $1 RETURNING {COLUMNS}""",
            file_id, name, purpose, keep or KEPT,
        )  # fmt: skip
        if row is None:  # swept away: the upload took longer than it may
            raise FileUnknown(file_id=str(file_id))
        return _file(row)

    async def file(self, file_id: UUID) -> File | None:
        row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM file WHERE id = $1 AND ready", file_id)
        return None if row is None else _file(row)

    async def listed(self, account: str, purpose: str, after: UUID | None, most: int) -> list[File]:
        """Of `account`, the newest first; `after` is the last one of the page before."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM file WHERE account = $1 AND ready AND ($2 = '' OR purpose = $2)
                AND ($3::uuid IS NULL OR (created, id) < (SELECT created, id FROM file WHERE id = $3))
                ORDER BY created DESC, id DESC LIMIT $4""",
            account, purpose, after, most,
        )  # fmt: skip
        return [_file(row) for row in rows]

    async def pieces(self, file_id: UUID) -> AsyncIterator[bytes]:
        number = 0
        while (body := await self._pool.fetchval(
            "SELECT body FROM piece WHERE file = $1 AND number = $2", file_id, number
        )) is not None:  # fmt: skip
            yield body
            number += 1

    async def delete(self, file_id: UUID) -> None:
        await self._pool.execute("DELETE FROM file WHERE id = $1", file_id)

    async def erase(self, tenant: str, subject: str) -> int:
        """Deletes the files with a request of `subject`, by name, or all of a tenant where it is ''; how many."""
        rows = await self._pool.fetch("SELECT id FROM file WHERE tenant = $1", tenant)
        gone = [row["id"] for row in rows if not subject or await self._names(row["id"], subject)]
        await self._pool.execute("DELETE FROM file WHERE id = ANY($1::uuid[])", gone)
        return len(gone)

    async def _names(self, file_id: UUID, subject: str) -> bool:
        rest = b""
        async for piece in self.pieces(file_id):
            *lines, rest = (rest + piece).split(b"\n")
            if any(names(line, subject) for line in lines):
                return True
        return names(rest, subject)

    async def sweep(self) -> None:
        """Forgets what is past its time, and uploads that broke off."""
        await forgotten(self._pool, PAST)


def _file(row: Any) -> File:
    return File(row["id"], row["account"], row["name"], row["purpose"], row["bytes"], row["created"], row["expires"])
