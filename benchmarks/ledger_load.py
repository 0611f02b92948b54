"""Reserve and settle pairs a second, beside a plain `UPDATE ... WHERE balance >= x`: `python -m benchmarks.ledger_load`.

Both on the same PostgreSQL in the same run, rounds taking turns. The plain way is what a gateway without a ledger of its
own would do: one conditional update before the call and one after it, each a transaction of its own. Ours is the whole
service: three budgets above the key, prices, postings, sealed holds.

As many clients as asked for come back at once, which measures throughput; their p50 is then the queue's: clients by pairs a second,
by Little's law. `before` is what of it a request waits for ahead of its model. `paced` is the same number of requests under way with a
model's time between reserve and settle, as a mesh has them.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop
from tollway.ledger.v1 import ledger_pb2 as pb

from benchmarks import report
from services.ledger.app import MIGRATIONS
from services.ledger.client_secrets import MemoryClientSecrets
from services.ledger.keys import Signer
from services.ledger.oidc import Issuers
from services.ledger.people import MemoryPeople
from services.ledger.postgres import PostgresStore
from services.ledger.prices import Price, PriceBook
from services.ledger.replica import Replica
from services.ledger.service import LedgerService
from services.mesh import embedded
from services.runtime import identity, postgres
from services.runtime.background import running
from services.runtime.identity import Caller

CALLER = Caller("acme", "acme/search/prod", "k", True, (), time.time() + 3600, "")
LIMIT = 10**15
ANSWERING_S = 0.2


Times = list[tuple[float, float]]
"""Of each pair: what came before the model could be asked, and all of it; in seconds."""


async def ours(service: LedgerService, until: float, times: Times, answering_s: float = 0.0) -> None:
    """Pairs, one after the other; `times` are the ledger's part of each."""
    identity.hold(CALLER)
    attempt = pb.Attempt(model="m", input_tokens=1000, output_tokens=500)
    while (began := time.perf_counter()) < until:
        name = str(uuid4())
        held = await service.Reserve(pb.ReserveRequest(reservation_id=name, attempts=[attempt]), None)
        took = time.perf_counter() - began
        if answering_s:
            await asyncio.sleep(random.uniform(0.5, 1.5) * answering_s)
            began = time.perf_counter()
        await service.Settle(
            pb.SettleRequest(reservation_id=name, hold=held.hold, model="m", input_tokens=800, output_tokens=200), None
        )
        times.append((took, time.perf_counter() - began + (took if answering_s else 0.0)))


async def plain(pool: Any, until: float, times: Times) -> None:
    while (began := time.perf_counter()) < until:
        await pool.execute("UPDATE plain SET balance = balance - 2000 WHERE name = 'acme' AND balance >= 2000")
        took = time.perf_counter() - began
        await pool.execute("UPDATE plain SET balance = balance + 800 WHERE name = 'acme'")
        times.append((took, time.perf_counter() - began))


async def burst(service: LedgerService, number: int, passes: int, tries: int) -> int:
    """How far a budget for `passes` requests is passed by `tries` at once: 0, always."""
    account = f"burst/{number}"
    identity.hold(replace(CALLER, tenant="burst", account=account))
    budget = pb.Budget(account=account, name="burst", unit=pb.UNIT_REQUESTS, limit=passes)
    await service.SetBudget(pb.SetBudgetRequest(budget=budget), None)

    async def one() -> bool:
        try:
            await service.Reserve(pb.ReserveRequest(reservation_id=str(uuid4())), None)
        except Exception as refused:  # noqa: BLE001 - the refusal is what is counted
            assert "burst" in str(refused)
            return False
        return True

    passed = sum(await asyncio.gather(*(one() for _ in range(tries))))
    return passed - passes


def told(times: Times, seconds: float) -> dict[str, float]:
    before, whole = (report.percentiles([one[n] for one in times]) for n in (0, 1))
    return {
        "pairs_per_second": len(times) / seconds,
        "p50_ms": whole[0] * 1e3,
        "p99_ms": whole[1] * 1e3,
        "before_p50_ms": before[0] * 1e3,
        "before_p99_ms": before[1] * 1e3,
    }


async def main(seconds: float, concurrency: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        os.chmod(folder, 0o755)
        async with (
            embedded.postgres(Path(folder) / "postgres") as url,
            postgres.opened(url, "ledger", MIGRATIONS, 8) as pool,
            asyncpg.create_pool(url, min_size=8, max_size=32) as other,
        ):
            await other.execute("CREATE TABLE plain (name text PRIMARY KEY, balance bigint)")
            await other.execute(f"INSERT INTO plain VALUES ('acme', {LIMIT})")
            replica = Replica(PostgresStore(pool))
            service = LedgerService(
                replica.store, replica, Signer(), PriceBook({"m": Price("1", "2")}), b"s", MemoryPeople(), Issuers({}),
                MemoryClientSecrets(),
            )  # fmt: skip
            async with running(replica.run()):
                identity.hold(CALLER)
                for account, unit in (
                    ("acme", pb.UNIT_NANO_USD),
                    ("acme/search", pb.UNIT_TOKENS),
                    ("acme/search/prod", pb.UNIT_REQUESTS),
                ):
                    budget = pb.Budget(account=account, name="main", unit=unit, limit=LIMIT)
                    await service.SetBudget(pb.SetBudgetRequest(budget=budget), None)
                times: dict[str, Times] = {"ledger": [], "update": []}
                for n in report.progress(range(rounds + 1), "rounds"):
                    for name, work in (("ledger", ours), ("update", plain)):
                        seen: Times = []
                        until = time.perf_counter() + seconds
                        subject: Any = service if name == "ledger" else other
                        await asyncio.gather(*(work(subject, until, seen) for _ in range(concurrency)))
                        if n:
                            times[name] += seen
                paced: Times = []
                until = time.perf_counter() + seconds
                await asyncio.gather(*(ours(service, until, paced, ANSWERING_S) for _ in range(concurrency)))
                over = max([await burst(service, n, 100, 200) for n in range(5)], key=abs)
    facts = {name: told(seen, rounds * seconds) for name, seen in times.items()} | {"paced": told(paced, seconds)}
    heads = ("", "pairs/s", "p50 ms", "p99 ms", "before, p50 ms", "before, p99 ms")
    report.table(f"{concurrency} at once", heads, [(name, *one.values()) for name, one in facts.items()])
    speedup = facts["ledger"]["pairs_per_second"] / facts["update"]["pairs_per_second"]
    report.finish(
        {
            **facts["ledger"],
            "speedup_vs_update": speedup,
            "overspend": over,
            "update": facts["update"],
            "paced": facts["paced"],
        }
    )


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=2.0, help="of each round")
    asked.add_argument("--concurrency", type=int, default=64)
    asked.add_argument("--rounds", type=int, default=3)
    args = asked.parse_args()
    uvloop.run(main(args.seconds, args.concurrency, args.rounds))
