"""Takes away what is kept of a tenant, or of the requests of one end user of it: all of it or nothing, and written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.registry.audit import Change
from services.registry.logbook import logged
from services.registry.versions import Actor
from services.runtime.postgres import affected

COUNTED = {
    "audit_entries": "entry",
    "feedback": "feedback",
    "records": "record",
    "probes": "probe",
    "runs": "run",
    "shadows": "shadow",
    "labels": "label",
    "versions": "version",
}
"""What an erasure tells, and the table of each; none is named by one before it."""
BESIDE = ("chain", "tally", "review")
"""Tables that go, too, and are not counted."""
OF_SUBJECT = """
WITH gone AS (DELETE FROM record WHERE tenant = $1 AND subject = $2 RETURNING trace),
    said AS (DELETE FROM feedback WHERE tenant = $1 AND trace IN (SELECT trace FROM gone WHERE trace <> '') RETURNING 1)
SELECT (SELECT count(*) FROM gone) AS records, (SELECT count(*) FROM said) AS feedback
"""


@dataclass(frozen=True, slots=True)
class Erasing:
    pool: asyncpg.Pool

    async def tenant(self, tenant: str, by: Actor, at: datetime) -> Mapping[str, int]:
        """Everything. Its audit log begins anew, with what was erased."""
        async with self.pool.acquire() as connection, connection.transaction():
            for table in BESIDE:
                await connection.execute(f"DELETE FROM {table} WHERE tenant = $1", tenant)
            counts = {name: await _deleted(connection, table, tenant) for name, table in COUNTED.items()}
            await logged(connection, Change(tenant, by, at, "registry.Erase", tenant, None, counts))
        return counts

    async def subject(self, tenant: str, subject: str, by: Actor, at: datetime) -> Mapping[str, int]:
        """The records of `subject`, a digest, and what was said of their answers. What people wrote themselves (templates, datasets)
        stays."""
        async with self.pool.acquire() as connection, connection.transaction():
            (row,) = await connection.fetch(OF_SUBJECT, tenant, subject)
            counts = {"records": row["records"], "feedback": row["feedback"]}
            await logged(connection, Change(tenant, by, at, "registry.Erase", f"subject {subject}", None, counts))
        return counts


async def _deleted(connection: Any, table: str, tenant: str) -> int:
    return affected(await connection.execute(f"DELETE FROM {table} WHERE tenant = $1", tenant))
