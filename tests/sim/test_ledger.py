"""The ledger under seeded faults: replicas that die, answers that are lost, messages that come twice or late.

After every step: no hard budget is passed, what is leased and spent never exceeds a limit, every acknowledged
settlement stands in the books at its cost.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.ledger.books import AlreadySettled, Budget, BudgetExceeded, Need, ReservationIdReused, Unit
from services.ledger.holds import Hold
from services.ledger.memory import MemoryStore
from services.ledger.replica import Replica, Times
from services.ledger.store import Ending, Entry, LedgerAway, MeterKey
from services.ledger.windows import Window, began
from tests.support.scale import sized

STEPS = sized(1_500, 50_000)
SEEDS = range(sized(4, 20))
BUDGETS = (
    Budget("acme", "money", Unit.NANO_USD, 14 * STEPS),
    Budget("acme/a", "requests", Unit.REQUESTS, STEPS // 5),
    Budget("acme/b", "tokens", Unit.TOKENS, 6 * STEPS),
    Budget("acme", "small", Unit.NANO_USD, 6 * STEPS, model="sm*"),
    Budget("acme/b", "hour", Unit.REQUESTS, 300, Window.ROLLING_HOUR),
    Budget("acme/b/deep", "minute", Unit.NANO_USD, 2_000, Window.MINUTE),
    Budget("acme", "at once", Unit.CONCURRENT, 40),
)
REFUSED = (BudgetExceeded, LedgerAway, AlreadySettled, ReservationIdReused)


class Faulty(MemoryStore):
    """Loses calls before they arrive, and answers on their way back."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance, self.rate, self.recalled_once = chance, 0.05, False

    def _lost(self) -> bool:
        return self.chance.random() < self.rate

    async def lease(self, replica: UUID, wants: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        if self._lost():
            raise LedgerAway
        given = await super().lease(replica, wants, expires)
        if self._lost():
            raise LedgerAway
        return given

    async def give_back(self, replica: UUID, amounts: Mapping[MeterKey, int]) -> None:
        if self._lost():
            raise LedgerAway
        await super().give_back(replica, amounts)
        if self._lost():
            raise LedgerAway

    async def recall(self, replica: UUID, meter: MeterKey, until: datetime) -> bool:
        called = await super().recall(replica, meter, until)
        self.recalled_once |= called
        if self._lost():
            raise LedgerAway
        return called

    async def end(self, endings: Sequence[Ending]) -> list[Entry | None]:
        if self._lost():
            raise LedgerAway
        earlier = await super().end(endings)
        if self._lost():
            raise LedgerAway
        return earlier


class World:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = Faulty(self.chance)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.replicas: list[Replica] = []
        self.open: list[Hold] = []
        self.acknowledged: dict[UUID, int] = {}
        self.costs: dict[UUID, int] = {}
        self.late: list[Entry] = []
        self.looked = 0

    async def begin(self) -> None:
        for budget in BUDGETS:
            await self.store.set_budget(budget)
        self.replicas = [await self._replica() for _ in range(3)]

    async def _replica(self) -> Replica:
        made = Replica(self.store, Times(hold_s=60, refresh_s=0), now=lambda: self.now)
        await made.load()
        return made

    async def step(self) -> None:
        roll = self.chance.random()
        replica = self.chance.choice(self.replicas)
        if roll < 0.45:
            await self._reserve(replica)
        elif roll < 0.8:
            await self._settle(replica)
        elif roll < 0.9:
            self.now += timedelta(seconds=self.chance.uniform(0, 20))
        elif roll < 0.95:
            with contextlib.suppress(LedgerAway):
                await replica.look()
            with contextlib.suppress(LedgerAway):
                await replica.post()
        elif roll < 0.985:
            with contextlib.suppress(LedgerAway):
                await replica.beat()
        else:  # killed: what it had in memory is gone
            self.replicas[self.replicas.index(replica)] = await self._replica()

    async def _reserve(self, replica: Replica) -> None:
        needs = [Need(self.chance.choice(["small", "large"]), self.chance.randint(1, 80), self.chance.randint(1, 90))]
        key = UUID(int=self.chance.getrandbits(128))
        if self.open and self.chance.random() < 0.1:  # a message that comes twice, perhaps elsewhere
            key = self.chance.choice(self.open).reservation_id
        account = self.chance.choice(["acme/a", "acme/b", "acme/b/deep"])
        with contextlib.suppress(*REFUSED):
            hold = (await replica.reserve(key, account, "k", needs, (), 0)).hold
            self.open.append(hold)

    async def _settle(self, replica: Replica) -> None:
        if not self.open:
            return
        hold = self.open[self.chance.randrange(len(self.open))]
        if self.chance.random() < 0.7:
            self.open.remove(hold)
        key = hold.reservation_id
        cost = self.costs.setdefault(key, self.chance.randint(0, hold.nano_usd))
        entry = Entry(key, "settled", self.now, "k", hold.account, "small", output_tokens=cost // 2, cost=cost)
        task = asyncio.create_task(replica.end(hold, entry, Need("small", cost, cost // 2)))
        await asyncio.sleep(0)
        for _ in range(20):
            with contextlib.suppress(LedgerAway):
                await replica.post()
            await asyncio.sleep(0)
            if task.done():
                break
        with contextlib.suppress(*REFUSED):
            stands = await task
            self.acknowledged[stands.reservation_id] = stands.cost

    async def check(self) -> None:
        keys = [MeterKey(one.account, one.name, began(one.window, self.now, "")) for one in BUDGETS]
        stands = await self.store.standing(keys)
        fresh = list(itertools.islice(self.store.ended.values(), self.looked, None))
        self.looked += len(fresh)
        # Settled after the hold had expired: a fact that no budget could refuse.
        self.late += [one for one in fresh if one.reservation_id not in self.costs and one.outcome == "settled"]
        for budget, meter in zip(BUDGETS, keys, strict=True):
            found = stands[meter]
            assert found.leased >= 0
            late = sum(Need("small", one.cost, one.output_tokens).used(budget.unit) for one in self.late)
            assert found.spent + found.leased <= budget.limit + late, budget
        for key, cost in self.acknowledged.items():
            assert self.store.ended[key].cost == cost


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_fault_makes_the_ledger_pass_a_budget_or_lose_a_settlement(seed: int) -> None:
    world = World(seed)
    await world.begin()
    for n in range(STEPS):
        await world.step()
        if n % 25 == 0:
            await world.check()
    await world.check()
    assert len(world.acknowledged) > STEPS // 20
    assert world.store.recalled_once
