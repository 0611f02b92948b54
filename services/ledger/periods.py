"""Entries by the month: coming months get tables, months past their time leave. Sums by the half hour and balances stay."""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from services.ledger.windows import Window, began
from services.runtime.postgres import AWAY

log = logging.getLogger(__name__)

TABLES = ("entry", "posting")
AHEAD = 2
"""Months that have their tables before they begin."""
LOOKS_EVERY_S = 3600.0
LOCKED_WITHIN = "5s"
"""A change of tables that waits makes all others wait behind it: it gives up sooner, and the next look tries again."""
UPPER = re.compile(r" TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Periods:
    pool: asyncpg.Pool
    kept_months: int = 0
    """Whole months that entries are kept beside the one that is; 0 for good."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                for name in await self.turn():
                    log.info("%s has left; its sums and balances stay", name)
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("months were not opened and closed: %s", type(error).__name__)
            await asyncio.sleep(LOOKS_EVERY_S)

    async def turn(self) -> list[str]:
        """Opens what is to come and closes what is past its time; the months that left. All of it or nothing, by one replica at a time."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCKED_WITHIN}'; SET LOCAL timezone = 'UTC'")
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('ledger periods'))")
            bounds = await _bounds(connection)
            this = began(Window.MONTH, self.now(), "")
            upto = max(bounds.values())
            while upto < _plus(this, AHEAD + 1):
                await _opened(connection, upto)
                upto = _plus(upto, 1)
            if not self.kept_months:
                return []
            oldest = _plus(this, -self.kept_months)
            past = [name for name, until in bounds.items() if until <= oldest]
            for name in past:
                await _closed(connection, name)
            return past


async def _bounds(connection: Any) -> dict[str, datetime]:
    """Where each month ends, by the part of its tables' names that is its own."""
    rows = await connection.fetch(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'entry'::regclass"
    )
    found = ((row["relname"].removeprefix("entry_"), UPPER.search(row["bound"])) for row in rows)
    return {name: datetime.fromisoformat(upper[1]) for name, upper in found if upper is not None}


async def _opened(connection: Any, begins: datetime) -> None:
    """Makes the tables of a month. What a clock that was ahead has written of it stands among `other`, and moves there."""
    ends = _plus(begins, 1)
    for table in TABLES:
        name = f"{table}_{begins:%Y_%m}"
        await connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        await connection.execute(
            f"WITH early AS (DELETE FROM {table}_other WHERE at >= $1 AND at < $2 RETURNING *) INSERT INTO {name} SELECT * FROM early",
            begins, ends,
        )  # fmt: skip
        await connection.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{begins.isoformat()}') TO ('{ends.isoformat()}')"
        )


async def _closed(connection: Any, name: str) -> None:
    """Carries the balances of a month forward and drops it."""
    await connection.execute(
        f"INSERT INTO carried SELECT book, sum(amount) FROM posting_{name} GROUP BY book"
        " ON CONFLICT (book) DO UPDATE SET amount = carried.amount + excluded.amount"
    )
    for table in ("spared", "ended"):
        await connection.execute(
            f"DELETE FROM {table} USING entry_{name} e WHERE {table}.reservation_id = e.reservation_id"
        )
    await connection.execute(f"DROP TABLE entry_{name}, posting_{name}")


def _plus(month: datetime, months: int) -> datetime:
    years, rest = divmod(month.month - 1 + months, 12)
    return month.replace(year=month.year + years, month=rest + 1)
