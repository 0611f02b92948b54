"""One replica's promises: exact near the limit, idempotent, nothing lost when the database is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.ledger.app import MIGRATIONS
from services.ledger.books import (
    AlreadySettled,
    Budget,
    BudgetExceeded,
    CostAboveCeiling,
    Need,
    ReservationIdReused,
    Unit,
)
from services.ledger.holds import Hold, opened
from services.ledger.memory import MemoryStore
from services.ledger.postgres import PostgresStore
from services.ledger.posting import EntryUnfit
from services.ledger.replica import Replica, Times
from services.ledger.store import Entry, LedgerAway, MeterKey
from services.ledger.windows import Window
from services.runtime import postgres
from services.runtime.background import running
from tests.support.scale import sized
from tests.support.waiting import until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Away(MemoryStore):
    """A store whose database can be away."""

    away = False

    async def end(self, endings):  # type: ignore[no-untyped-def]
        if self.away:
            raise LedgerAway
        return await super().end(endings)

    async def lease(self, replica, wants, expires):  # type: ignore[no-untyped-def]
        if self.away:
            raise LedgerAway
        return await super().lease(replica, wants, expires)


@asynccontextmanager
async def replica_over(store: MemoryStore, *budgets: Budget) -> AsyncIterator[Replica]:
    for budget in budgets:
        await store.set_budget(budget)
    made = Replica(store, Times(refresh_s=0.05, heartbeat_s=0.1))
    await made.load()
    async with running(made.run()):
        yield made


async def reserve(replica: Replica, amount: int = 10, *, key: UUID | None = None, ceiling: int = 0) -> Hold:
    needs = [Need("m", amount, amount)]
    return (await replica.reserve(key or uuid4(), "acme/search", "k", needs, (), ceiling)).hold


async def settle(replica: Replica, hold: Hold, cost: int) -> Entry:
    entry = Entry(hold.reservation_id, "settled", NOW, "k", hold.account, "m", cost=cost)
    return await replica.end(hold, entry, Need("m", cost, cost))


MONEY = Budget("acme", "main", Unit.NANO_USD, 1000)


async def test_a_budget_for_a_hundred_lets_exactly_a_hundred_pass() -> None:
    async def one(replica: Replica) -> bool:
        try:
            hold = await reserve(replica)
        except BudgetExceeded:
            return False
        await asyncio.sleep(0)
        await settle(replica, hold, 10)
        return True

    for _ in range(sized(5, 100)):
        async with replica_over(MemoryStore(), Budget("acme", "main", Unit.REQUESTS, 100)) as replica:
            assert sum(await asyncio.gather(*(one(replica) for _ in range(200)))) == 100


async def test_three_replicas_on_one_database_let_exactly_a_hundred_pass(postgres_url: str) -> None:
    async def one(replica: Replica, account: str) -> bool:
        try:
            hold = (await replica.reserve(uuid4(), account, "k", [Need("m", 10, 10)], (), 0)).hold
        except BudgetExceeded:
            return False
        await settle(replica, hold, 10)
        return True

    async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 6) as pool, AsyncExitStack() as lives:
        store = PostgresStore(pool)
        replicas = [Replica(store, Times(refresh_s=0.05, heartbeat_s=0.1)) for _ in range(3)]
        for replica in replicas:
            await replica.load()
            await lives.enter_async_context(running(replica.run()))
        for run in range(sized(3, 100)):
            account = f"acme/run{run}"
            await store.set_budget(Budget(account, "main", Unit.REQUESTS, 100))
            for replica in replicas:
                await replica.load()
            passed = await asyncio.gather(*(one(replicas[n % 3], account) for n in range(200)))
            assert sum(passed) == 100, run


@pytest.mark.parametrize("first", [1, 2, 3, 5, 19])
async def test_a_small_budget_is_granted_to_its_last_request_however_callers_are_shared_out(first: int) -> None:
    """What one replica has to spare the other would refuse for."""
    store, few = MemoryStore(), Budget("acme", "few", Unit.REQUESTS, 20)
    async with replica_over(store, few) as one, replica_over(store) as other:
        granted = [await reserve(one) for _ in range(first)]
        granted += [await reserve(other) for _ in range(20 - first)]
        assert len(granted) == 20
        for each in (one, other):
            with pytest.raises(BudgetExceeded):
                await reserve(each)


async def test_every_budget_above_holds_at_once_or_none() -> None:
    tight = Budget("acme/search", "day", Unit.TOKENS, 15)
    async with replica_over(MemoryStore(), MONEY, tight) as replica:
        await reserve(replica, 10)
        with pytest.raises(BudgetExceeded) as refused:
            await reserve(replica, 10)
        assert refused.value.facts["budget"] == "day" and refused.value.facts["available"] == "5"
        stands = {
            budget.name: held for budget, _, held in await replica.leases.standing(replica.bounds.above("acme/search"))
        }
        assert stands == {"main": 10, "day": 10}


async def paced(replica: Replica, tokens: int = 1) -> dict[str, tuple[str, int]]:
    """By unit: the limit that one more request was told of, and what it leaves."""
    made = await replica.reserve(uuid4(), "acme/search", "k", [Need("m", tokens, tokens)], (), 0)
    return {one.budget.unit.value: (one.budget.name, one.left) for one in made.limits}


async def test_a_caller_is_told_the_nearest_of_its_limits() -> None:
    store, clock = MemoryStore(), [NOW]
    for budget in (
        Budget("acme", "minute", Unit.REQUESTS, 100, Window.MINUTE),
        Budget("acme/search", "day", Unit.REQUESTS, 7, Window.DAY),
        Budget("acme", "tokens", Unit.TOKENS, 1000, Window.MINUTE),
        Budget("acme", "ever", Unit.REQUESTS, 3),
        MONEY,
    ):
        await store.set_budget(budget)
    replica = Replica(store, now=lambda: clock[0])
    await replica.load()
    assert await paced(replica, 40) == {"requests": ("day", 6), "tokens": ("tokens", 960)}
    assert await paced(replica, 10) == {"requests": ("day", 5), "tokens": ("tokens", 950)}
    clock[0] += timedelta(minutes=1)
    assert await paced(replica, 1) == {"requests": ("day", 4), "tokens": ("tokens", 999)}


async def test_what_is_left_is_counted_as_it_is_taken_and_given_back() -> None:
    store = MemoryStore()
    async with replica_over(store, Budget("acme", "tokens", Unit.TOKENS, 1000, Window.ROLLING_DAY)) as replica:
        hold = await reserve(replica, 100)
        assert await paced(replica) == {"tokens": ("tokens", 899)}
        await settle(replica, hold, 30)
        assert await paced(replica) == {"tokens": ("tokens", 968)}
        other = Replica(store)
        await other.load()
        assert await paced(other, 200) == {"tokens": ("tokens", 1000 - 30 - 2 - 200 - replica_free(replica))}
        await replica.leases.give_back(replica.leases.of("acme", "tokens"))
        await other.stands.look()
        assert await paced(other) == {"tokens": ("tokens", 1000 - 30 - 2 - 201)}


def replica_free(replica: Replica) -> int:
    """What a replica has leased and nobody holds: to others it is gone."""
    return sum(meter.free for meter in replica.leases.meters.values())


async def test_a_limit_set_anew_is_told_at_once() -> None:
    store, budget = MemoryStore(), Budget("acme", "minute", Unit.REQUESTS, 100, Window.MINUTE)
    async with replica_over(store, budget) as replica:
        assert await paced(replica) == {"requests": ("minute", 99)}
        await replica.leases.give_back(replica.leases.of("acme", "minute"))
        await store.set_budget(Budget("acme", "minute", Unit.REQUESTS, 10, Window.MINUTE))
        await replica.load()
        assert await paced(replica) == {"requests": ("minute", 8)}


@pytest.mark.parametrize(
    ("budget", "amount", "comes_back"),
    [
        (Budget("acme", "main", Unit.TOKENS, 100, Window.MINUTE), 60, "true"),
        (Budget("acme", "main", Unit.TOKENS, 100, Window.ROLLING_DAY), 60, "true"),
        (Budget("acme", "main", Unit.TOKENS, 100, Window.MINUTE), 101, "false"),
        (Budget("acme", "main", Unit.TOKENS, 100, Window.MONTH), 60, "false"),
        (Budget("acme", "main", Unit.TOKENS, 100), 60, "false"),
        (Budget("acme", "main", Unit.NANO_USD, 100, Window.MINUTE), 60, "false"),
        (Budget("acme", "main", Unit.CONCURRENT, 1), 60, "true"),
    ],
)
async def test_a_refusal_tells_whether_the_request_will_fit_later(budget: Budget, amount: int, comes_back: str) -> None:
    async with replica_over(MemoryStore(), budget) as replica:
        if amount <= budget.limit or budget.unit is Unit.CONCURRENT:
            await reserve(replica, amount)
        with pytest.raises(BudgetExceeded) as refused:
            await reserve(replica, amount)
        assert refused.value.facts["rate_limit"] == comes_back


async def test_a_repeated_reservation_holds_once() -> None:
    async with replica_over(MemoryStore(), MONEY) as replica:
        key = uuid4()
        assert await reserve(replica, 10, key=key) == await reserve(replica, 10, key=key)
        with pytest.raises(ReservationIdReused):
            await reserve(replica, 11, key=key)


async def test_a_settlement_is_final_and_repeatable() -> None:
    async with replica_over(MemoryStore(), MONEY) as replica:
        hold = await reserve(replica)
        first = await settle(replica, hold, 4)
        assert await settle(replica, hold, 4) == first
        with pytest.raises(AlreadySettled):
            await settle(replica, hold, 5)
        with pytest.raises(AlreadySettled):
            await reserve(replica, key=hold.reservation_id)


async def test_a_request_has_its_own_ceiling() -> None:
    async with replica_over(MemoryStore()) as replica:
        assert (await reserve(replica, 10, ceiling=10)).nano_usd == 10
        with pytest.raises(CostAboveCeiling):
            await reserve(replica, 11, ceiling=10)


async def test_a_hold_that_nobody_settles_returns_by_itself() -> None:
    store, clock = MemoryStore(), [NOW]
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 10))
    replica = Replica(store, Times(hold_s=60), now=lambda: clock[0])
    await replica.load()
    hold = await reserve(replica, 10)
    with pytest.raises(BudgetExceeded):
        await reserve(replica, 1)
    clock[0] += timedelta(seconds=61)
    assert replica.expire() == 1
    await replica.post()
    assert store.ended[hold.reservation_id].outcome == "expired"
    await reserve(replica, 10)


async def test_a_settlement_after_the_hold_expired_is_still_charged() -> None:
    store, clock = MemoryStore(), [NOW]
    await store.set_budget(MONEY)
    replica = Replica(store, Times(hold_s=60), now=lambda: clock[0])
    await replica.load()
    hold = await reserve(replica, 10)
    clock[0] += timedelta(seconds=61)
    replica.expire()
    await replica.post()
    late = asyncio.create_task(settle(replica, hold, 8))
    await asyncio.sleep(0)
    await replica.post()
    assert (await late).cost == 8
    assert [stands.spent for _, stands, _ in await replica.leases.standing(replica.bounds)] == [8]


async def test_a_cost_above_the_hold_is_an_overrun_that_the_next_one_sees() -> None:
    async with replica_over(MemoryStore(), Budget("acme", "main", Unit.NANO_USD, 20)) as replica:
        await settle(replica, await reserve(replica, 10), 25)
        with pytest.raises(BudgetExceeded):
            await reserve(replica, 1)


async def test_settlements_wait_for_a_database_that_is_away() -> None:
    store = Away()
    async with replica_over(store, MONEY) as replica:
        hold = await reserve(replica)
        store.away = True
        waiting = asyncio.create_task(settle(replica, hold, 4))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert (await reserve(replica)).nano_usd == 10  # the lease in memory bridges it
        with pytest.raises(LedgerAway):
            await reserve(replica, 900)
        store.away = False
        assert (await waiting).cost == 4


class Picky(MemoryStore):
    """A store that cannot write what costs `unfit`."""

    unfit = -1

    async def end(self, endings):  # type: ignore[no-untyped-def]
        if any(one.entry.cost == self.unfit for one in endings):
            raise asyncpg.UntranslatableCharacterError("no room for it")
        return await super().end(endings)


@pytest.mark.parametrize("late", [False, True])
async def test_what_could_not_be_written_has_not_ended(late: bool) -> None:
    store = Picky()
    async with replica_over(store) as replica:
        hold = await reserve(replica)
        if late:
            expired = Entry(hold.reservation_id, "expired", NOW, "k", hold.account, held=hold.nano_usd)
            await replica.end(hold, expired, Need("", 0, 0, 0))
        store.unfit = 7
        for _ in range(2):
            with pytest.raises(EntryUnfit):
                await settle(replica, hold, 7)
        store.unfit = -1
        assert (await settle(replica, hold, 7)).cost == 7


class Slow(MemoryStore):
    """A store where other replicas give back what a lease has just been refused for."""

    refuses = 0

    async def lease(self, replica, wants, expires):  # type: ignore[no-untyped-def]
        if self.refuses:
            self.refuses -= 1
            return {}
        return await super().lease(replica, wants, expires)


async def test_what_has_come_back_since_it_was_refused_is_granted() -> None:
    store = Slow()
    async with replica_over(store, MONEY) as replica:
        store.refuses = 2
        assert (await reserve(replica, 10)).nano_usd == 10
        store.refuses = 1
        with pytest.raises(BudgetExceeded):
            await reserve(replica, 2000)
        store.refuses = 100
        with pytest.raises(LedgerAway):
            await reserve(replica, 900)


class Counting(MemoryStore):
    """A store that says what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.looked = 0, list[set[MeterKey]]()

    async def budgets(self) -> list[Budget]:
        self.read += 1
        return await super().budgets()

    async def standing(self, meters):  # type: ignore[no-untyped-def]
        self.looked.append(set(meters))
        return await super().standing(meters)


async def test_budgets_are_read_when_they_have_changed() -> None:
    store = Counting()
    async with replica_over(store, MONEY) as replica:
        await asyncio.sleep(0.3)
        assert store.read == 1
        await store.set_budget(Budget("acme/search", "tight", Unit.NANO_USD, 5))
        await until(lambda: store.read == 2)
        with pytest.raises(BudgetExceeded):
            await reserve(replica)


async def test_only_where_something_is_held_is_looked_at_and_now_and_then_everywhere() -> None:
    store = Counting()
    others = [Budget(f"acme/other{n}", "main", Unit.NANO_USD, 100) for n in range(3)]
    async with replica_over(store, MONEY, *others) as replica:
        for other in others:
            await replica.reserve(uuid4(), other.account, "k", [Need("m", 1, 1)], (), 0)
        await until(lambda: any(len(one) == 4 for one in store.looked))
        store.looked.clear()
        await until(lambda: len(store.looked) >= 2)
        assert {len(one) for one in store.looked} == {4}, (
            "nothing was asked of lately: all are looked at with each heartbeat"
        )
        await reserve(replica)
        await until(lambda: any(len(one) == 1 for one in store.looked))


async def test_leaving_returns_what_is_idle() -> None:
    store = MemoryStore()
    async with replica_over(store, MONEY) as replica:
        await settle(replica, await reserve(replica), 4)
    await replica.close()
    stands = [one for _, one, _ in await replica.leases.standing(replica.bounds)]
    assert [(one.spent, one.leased) for one in stands] == [(4, 0)]


async def test_a_hold_travels_sealed() -> None:
    async with replica_over(MemoryStore(), MONEY) as replica:
        hold = await reserve(replica)
    sealed = hold.sealed(b"secret")
    assert opened(b"secret", hold.reservation_id, sealed) == hold
    altered = sealed.replace(b'"acme', b'"acne')
    assert altered != sealed
    for broken, key in ((altered, hold.reservation_id), (sealed, uuid4()), (sealed[:10], hold.reservation_id)):
        with pytest.raises(Exception, match="there is no reservation"):
            opened(b"secret", key, broken)


async def test_what_is_under_way_is_shared_by_replicas_as_it_ends() -> None:
    store = MemoryStore()
    budget = Budget("acme", "at once", Unit.CONCURRENT, 8)
    async with replica_over(store, budget) as one, replica_over(store, budget) as two:
        held = [await reserve(one) for _ in range(8)]
        with pytest.raises(BudgetExceeded):
            await reserve(two)
        for hold in held:
            entry = Entry(hold.reservation_id, "settled", NOW, "k", hold.account, "m", cost=1)
            await one.end(hold, entry, Need("m", 1, 1))
        await asyncio.sleep(0.2)  # what is idle is returned within a refresh
        assert len([await reserve(two) for _ in range(8)]) == 8


async def test_idle_leases_of_windows_that_are_over_are_returned() -> None:
    now = NOW
    store = MemoryStore()
    await store.set_budget(Budget("acme", "hour", Unit.REQUESTS, 100, Window.ROLLING_HOUR))
    replica = Replica(store, now=lambda: now)
    await replica.load()
    task = asyncio.ensure_future(replica.run())
    hold = await reserve(replica)
    await replica.end(hold, Entry(hold.reservation_id, "settled", now, "k", hold.account, "m"), Need("m", 0, 0))
    now += timedelta(minutes=5)
    await replica.beat()
    meter = MeterKey("acme", "hour", now)
    stands = (await store.standing([meter]))[meter]
    assert (stands.spent, stands.leased) == (1, 0)
    task.cancel()
