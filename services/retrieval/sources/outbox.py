"""A table in somebody's PostgreSQL, to which their transactions write what changed: rows go once they are searchable."""

import asyncio
import json
import re
from dataclasses import dataclass

import asyncpg

from services.retrieval.sources import LONGEST_ID, Change, Desk, Kind, SourceAway, SourceSettings
from services.retrieval.sources.message import Malformed, change_of
from services.runtime.postgres import AWAY

CHANNEL = "document_outbox"
"""A `NOTIFY` on it saves the wait for the next look."""
MOST = 100
NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$")
COLUMNS = ("document_id", "title", "text", "content", "media_type", "uri", "attributes", "readers", "deleted")


@dataclass(slots=True)
class Outbox:
    settings: SourceSettings
    kind: Kind = Kind.OUTBOX

    async def run(self, desk: Desk) -> None:
        if not NAME.match(self.settings.table):
            raise SourceAway("table is no name of a table")
        try:
            connection = await asyncpg.connect(self.settings.url, timeout=10.0)
        except (*AWAY, TimeoutError, asyncpg.PostgresError) as error:
            raise SourceAway(f"its database does not let us in: {type(error).__name__}") from None
        told = asyncio.Event()
        try:
            await connection.add_listener(CHANNEL, lambda *_: told.set())
            while True:
                told.clear()
                if await self._batch(connection, desk) == MOST:
                    continue
                try:
                    async with asyncio.timeout(self.settings.every_s):
                        await told.wait()
                except TimeoutError:
                    continue
        except (*AWAY, asyncpg.PostgresError) as error:
            raise SourceAway(f"its table cannot be read: {type(error).__name__}") from None
        except KeyError as error:
            raise SourceAway(f"its table has no column {error}") from None
        finally:
            connection.terminate()

    async def _batch(self, connection: asyncpg.Connection, desk: Desk) -> int:
        """Rows in order, deleted as they are handed in: what is killed in between is handed in again, which changes nothing.

        Of several rows for one document all are handed in, the last one last.
        """
        async with connection.transaction():
            rows = await connection.fetch(
                f"DELETE FROM {self.settings.table} WHERE id IN (SELECT id FROM {self.settings.table}"
                f" ORDER BY id LIMIT {MOST} FOR UPDATE) RETURNING *"
            )
            for row in sorted(rows, key=lambda one: one["id"]):
                await desk.take(_change(self.settings, row))
        return len(rows)


def _change(settings: SourceSettings, row: asyncpg.Record) -> Change:
    said = {name: row[name] for name in COLUMNS if name in row and row[name] is not None}
    if isinstance(said.get("attributes"), str):
        said["attributes"] = json.loads(said["attributes"])
    try:
        return change_of(settings, said, row["changed_at"].timestamp())
    except Malformed as error:
        bad = error.document
        bad.document_id = str(row["document_id"])[:LONGEST_ID]
        return Change(bad.document_id, settings.collection, row["changed_at"].timestamp(), bad, fault=str(error))
