"""How long reports take on ten million entries, from sums and from entries: `python -m benchmarks.usage_reports`.

The same questions of the same database in one run; entries answer them as they did before there were sums.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import uvloop

from benchmarks import report
from benchmarks.seeded import seed
from services.ledger import reports
from services.ledger.app import MIGRATIONS
from services.ledger.periods import Periods
from services.ledger.postgres import PostgresStore
from services.ledger.store import Asked
from services.mesh import embedded
from services.runtime import postgres

ASKED = {
    "total": ("", "UTC"),
    "account": ("account", "UTC"),
    "model": ("model", "UTC"),
    "key": ("key", "UTC"),
    "template": ("template", "UTC"),
    "day": ("day", "UTC"),
    "day in Berlin": ("day", "Europe/Berlin"),
    "month": ("month", "UTC"),
}
"""What reports are by, and whose days they count in."""


async def median(call: Callable[[], Awaitable[Any]], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return report.percentiles(times)[0] * 1e3


async def main(rows: int, days: int, rounds: int) -> None:
    until = datetime.now(UTC)
    since = until - timedelta(days=days)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        os.chmod(folder, 0o755)
        async with (
            embedded.postgres(Path(folder) / "postgres") as url,
            postgres.opened(url, "ledger", MIGRATIONS, 4) as pool,
        ):
            await Periods(pool).turn()
            async with pool.acquire() as connection:
                await seed(connection, rows, until, days)
            store = PostgresStore(pool)
            found: dict[str, dict[str, float]] = {}
            for name in report.progress(tuple(ASKED), "reports"):
                group, zone = ASKED[name]
                asked = Asked("org1", since, until + timedelta(days=1), time_zone=zone)
                call = partial(store.usage, asked, group, "", 100)
                times = {"sums": await median(call, rounds)}
                with mock.patch.object(reports, "_summed", lambda asked, *_: (asked.until,) * 4):
                    times["entries"] = await median(call, max(rounds // 5, 1))
                found[name] = times
            entries = await median(lambda: store.entries(Asked("org1", since, until), None, 100), rounds)
            sums = await pool.fetchval("SELECT count(*) FROM tally")
    report.table(
        f"one of four organisations, {rows:,} entries of {days} days, {sums:,} sums",
        ("by", "from sums, ms", "from entries, ms", "times faster"),
        [(name, one["sums"], one["entries"], one["entries"] / one["sums"]) for name, one in found.items()],
    )
    report.finish(
        {
            "rows": rows,
            "sums": sums,
            "entries_page_ms": entries,
            "slowest_ms": max(one["sums"] for one in found.values()),
            "speedup": min(one["entries"] / one["sums"] for one in found.values()),
            "reports": found,
        }
    )


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--days", type=int, default=90)
    asked.add_argument("--rounds", type=int, default=10)
    args = asked.parse_args()
    uvloop.run(main(args.rows, args.days, args.rounds))
