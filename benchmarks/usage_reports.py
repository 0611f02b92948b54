"""How long reports take on ten million entries, from sums and from entries: `python -m benchmarks.usage_reports`.

The same questions of the same database in one run. A zone whose days begin between the half hours of UTC is answered from entries,
so it is the baseline: it has the same rows, moved by a quarter of an hour.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.seeded import seed
from services.ledger.app import MIGRATIONS
from services.ledger.periods import Periods
from services.ledger.postgres import PostgresStore
from services.ledger.store import Asked
from services.mesh import embedded
from services.runtime import postgres

GROUPS = ("", "account", "model", "key", "template", "day", "month")
BETWEEN = "Asia/Kathmandu"


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
            for group in report.progress(GROUPS, "reports"):
                times = {}
                for name, zone, times_asked in (("sums", "UTC", rounds), ("entries", BETWEEN, max(rounds // 5, 1))):
                    asked = Asked("org1", since, until + timedelta(days=1), time_zone=zone)
                    times[name] = await median(lambda asked=asked: store.usage(asked, group, "", 100), times_asked)  # type: ignore[misc]  # noqa: B023
                found[group or "total"] = times
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
