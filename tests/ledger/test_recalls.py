"""What one replica has leased and does not use, another gets before it refuses; and nothing is granted twice by it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.ledger.app import MIGRATIONS
from services.ledger.books import Budget, BudgetExceeded, Need, Unit
from services.ledger.holds import Hold
from services.ledger.memory import MemoryStore
from services.ledger.postgres import PostgresStore
from services.ledger.replica import Replica, Times
from services.ledger.store import Entry, MeterKey, Store
from services.ledger.windows import BEGINNING, Window
from services.runtime import postgres
from services.runtime.background import running
from tests.support.scale import sized

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = 1000
MANY = Budget("acme", "many", Unit.REQUESTS, LIMIT)
METER = MeterKey("acme", "many", BEGINNING)


class Counting(MemoryStore):
    """A store that says how often it was asked to call something back."""

    recalls = 0

    async def recall(self, replica: UUID, meter: MeterKey, until: datetime) -> bool:
        self.recalls += 1
        return await super().recall(replica, meter, until)


@asynccontextmanager
async def replicas_over(store: Store, *budgets: Budget, number: int = 2) -> AsyncIterator[list[Replica]]:
    for budget in budgets:
        await store.set_budget(budget)
    made = [Replica(store, Times(refresh_s=0.05, heartbeat_s=0.1)) for _ in range(number)]
    async with AsyncExitStack() as lives:
        for one in made:
            await one.load()
            await lives.enter_async_context(running(one.run()))
        yield made


async def reserve(replica: Replica, amount: int = 1) -> Hold:
    return (await replica.reserve(uuid4(), "acme/search", "k", [Need("m", amount, amount)], (), 0)).hold


async def settle(replica: Replica, hold: Hold, cost: int) -> None:
    entry = Entry(hold.reservation_id, "settled", NOW, "k", hold.account, "m", cost=cost)
    await replica.end(hold, entry, Need("m", cost, cost))


async def granted(replica: Replica, asked: int) -> int:
    """How many of so many requests in turn one replica grants."""
    passed = 0
    for _ in range(asked):
        try:
            await reserve(replica)
        except BudgetExceeded:
            continue
        passed += 1
    return passed


@pytest.mark.parametrize("first", [1, 7, 300])
async def test_what_lies_idle_elsewhere_is_granted_before_anything_is_refused(first: int) -> None:
    async with replicas_over(Counting(), MANY) as (one, other):
        assert await granted(one, first) == first
        assert one.leases.free(METER) > 0  # else there is nothing to call back
        assert await granted(other, LIMIT - first) == LIMIT - first
        assert [await granted(each, 2) for each in (one, other)] == [0, 0]


@pytest.mark.parametrize("window", [Window.TOTAL, Window.DAY, Window.ROLLING_HOUR])
async def test_a_budget_is_spent_to_its_end_by_three_replicas_of_one_database(
    window: Window, postgres_url: str
) -> None:
    async def one(replica: Replica, account: str) -> bool:
        try:
            hold = (await replica.reserve(uuid4(), account, "k", [Need("m", 1, 1)], (), 0)).hold
        except BudgetExceeded:
            return False
        await settle(replica, hold, 1)
        return True

    chance = random.Random(7)
    async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 8) as pool:
        budgets = [Budget(f"acme/{n}", "main", Unit.REQUESTS, LIMIT, window) for n in range(sized(2, 20))]
        async with replicas_over(PostgresStore(pool), *budgets, number=3) as replicas:
            for budget in budgets:
                for replica in replicas:  # each leases while there is much
                    assert await one(replica, budget.account)
                callers = [chance.choice(replicas[:2]) for _ in range(LIMIT + 50)]  # of one of them nobody asks again
                passed = await asyncio.gather(*(one(replica, budget.account) for replica in callers))
                assert sum(passed) == LIMIT - 3


async def test_a_spent_budget_refuses_at_once_and_calls_nothing_back_again() -> None:
    store = Counting()
    async with replicas_over(store, MANY) as (one, other):
        await reserve(one)
        assert await granted(other, LIMIT) == LIMIT - 1
        called = store.recalls
        started = asyncio.get_running_loop().time()
        assert await granted(other, 100) == 0
        waited = asyncio.get_running_loop().time() - started
        assert store.recalls == called
        assert waited < 100 * other.times.refresh_s / 2, "each refusal waited for others to look"


async def test_one_replica_alone_waits_for_nobody() -> None:
    store = Counting()
    async with replicas_over(store, MANY, number=1) as (one,):
        assert await granted(one, LIMIT + 1) == LIMIT
        assert store.recalls == 1 and not await store.recalled(datetime.now(UTC))


async def test_what_is_called_back_is_leased_by_the_request_and_returns_with_each_ending() -> None:
    store = MemoryStore()
    async with replicas_over(store, Budget("acme", "many", Unit.NANO_USD, LIMIT)) as (one, other):
        await reserve(one)
        assert await store.recall(other.id, METER, datetime.now(UTC) + timedelta(minutes=1))
        for each in (one, other):
            await each.look()
        assert one.leases.free(METER) == 0
        hold = await reserve(one, 10)
        assert one.leases.free(METER) == 0  # by the request, though much is left
        await settle(one, hold, 4)
        assert one.leases.free(METER) == 0
        stands = (await store.standing([METER]))[METER]
        assert (stands.spent, stands.leased) == (4, 1)


async def test_a_hold_that_expired_while_called_back_is_taken_out_of_its_lease_once() -> None:
    """Its replica and the one that settled it both end it: the lease is smaller by it once."""
    store, clock = MemoryStore(), [NOW]
    await store.set_budget(Budget("acme", "many", Unit.NANO_USD, LIMIT))
    one, other = (Replica(store, Times(hold_s=60), now=lambda: clock[0]) for _ in range(2))
    for each in (one, other):
        await each.load()
    hold = await reserve(one, 10)
    await store.recall(other.id, METER, NOW + timedelta(hours=1))
    await one.look()
    settled = asyncio.create_task(settle(other, hold, 4))
    await asyncio.sleep(0)
    await other.post()
    await settled
    clock[0] += timedelta(seconds=61)
    assert one.expire() == 1
    await one.post()
    assert one.leases.meters[METER].granted == 0
    stands = (await store.standing([METER]))[METER]
    assert (stands.spent, stands.leased) == (4, 0)


async def test_one_that_is_cancelled_while_it_waits_leaves_the_others_their_turn() -> None:
    async with replicas_over(MemoryStore(), MANY) as (one, other):
        await reserve(one)
        assert await granted(other, LIMIT - 1 - one.leases.free(METER)) == LIMIT - 1 - one.leases.free(METER)
        leaving, staying = (asyncio.create_task(reserve(other)) for _ in range(2))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert (await staying).parts
