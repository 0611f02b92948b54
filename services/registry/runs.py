"""Runs over datasets, and what they found, in PostgreSQL."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from services.registry.versions import Actor
from services.runtime.errors import Failure, Kind

LOOKED_AGAIN = timedelta(seconds=30)


class RunUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "RUN_UNKNOWN"
    text = "there is no run {run_id}"
    field = "run_id"


class RunNotDone(Failure):
    kind, reason = Kind.PRECONDITION, "RUN_NOT_DONE"
    text = "run {run_id} is {state}"


@dataclass(frozen=True, slots=True)
class Run:
    id: UUID
    tenant: str
    dataset: str
    version: int
    candidate: bytes
    """As its contract says it."""
    measures: tuple[str, ...]
    job: UUID
    cases: int
    by: Actor
    created: datetime
    state: str = "running"
    number: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    line: int
    case_id: str
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    """Why it has no answer."""
    cost: int = 0
    took: timedelta = timedelta()


class Runs:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, run: Run) -> Run:
        """The earlier one, when it has come before."""
        await self._pool.execute(
            """INSERT INTO run (id, tenant, dataset, version, candidate, measures, job, due, cases, key_id, account, created)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $8) ON CONFLICT (id) DO NOTHING""",
            run.id, run.tenant, run.dataset, run.version, run.candidate, list(run.measures), run.job, run.created,
            run.cases, run.by.key_id, run.by.account,
        )  # fmt: skip
        return await self.run(run.tenant, run.id)

    async def run(self, tenant: str, run_id: UUID) -> Run:
        """
        Raises:
            RunUnknown: there is none, or it is another tenant's.
        """
        row = await self._pool.fetchrow("SELECT * FROM run WHERE id = $1 AND tenant = $2", run_id, tenant)
        if row is None:
            raise RunUnknown(run_id=run_id)
        return _run(row)

    async def listed(self, tenant: str, dataset: str, below: int, most: int) -> list[Run]:
        """The newest first."""
        found = await self._pool.fetch(
            """SELECT * FROM run WHERE tenant = $1 AND ($2 = '' OR dataset = $2) AND ($3 = 0 OR number < $3)
               ORDER BY number DESC LIMIT $4""",
            tenant, dataset, below, most,
        )  # fmt: skip
        return [_run(row) for row in found]

    async def due(self, most: int) -> list[Run]:
        """Those to be looked at now; nobody else looks at them for a while."""
        found = await self._pool.fetch(
            """UPDATE run SET due = now() + $2 WHERE number IN (
                   SELECT number FROM run WHERE state = 'running' AND due <= now() ORDER BY due LIMIT $1
                   FOR UPDATE SKIP LOCKED) RETURNING *""",
            most, LOOKED_AGAIN,
        )  # fmt: skip
        return [_run(row) for row in found]

    async def again(self, run: Run, after: timedelta) -> None:
        await self._pool.execute("UPDATE run SET due = now() + $2 WHERE id = $1", run.id, after)

    async def end(self, run: Run, state: str, results: Sequence[Result]) -> None:
        """Ends a run with all its results, or not at all."""
        async with self._pool.acquire() as connection, connection.transaction():
            done = await connection.execute(
                "UPDATE run SET state = $2 WHERE id = $1 AND state = 'running'", run.id, state
            )
            if done == "UPDATE 0":
                return
            await connection.copy_records_to_table(
                "run_result",
                records=[
                    (run.id, one.line, one.case_id, json.dumps(dict(one.scores)), one.error, one.cost, one.took)
                    for one in results
                ],
                columns=["run", "line", "case_id", "scores", "error", "cost", "took"],
            )

    async def results(self, run: Run, after: int = -1, most: int = 1_000_000) -> list[Result]:
        """In the dataset's order, those after line `after`."""
        found = await self._pool.fetch(
            "SELECT * FROM run_result WHERE run = $1 AND line > $2 ORDER BY line LIMIT $3", run.id, after, most
        )
        return [
            Result(row["line"], row["case_id"], json.loads(row["scores"]), row["error"], row["cost"], row["took"])
            for row in found
        ]


def _run(row: asyncpg.Record) -> Run:
    return Run(
        id=row["id"],
        tenant=row["tenant"],
        dataset=row["dataset"],
        version=row["version"],
        candidate=row["candidate"],
        measures=tuple(row["measures"]),
        job=row["job"],
        cases=row["cases"],
        by=Actor(row["key_id"], row["account"]),
        created=row["created"],
        state=row["state"],
        number=row["number"],
    )
