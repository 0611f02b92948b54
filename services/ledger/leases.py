"""What one replica has leased of each budget: in memory as in the store, since a lease is durable before it is granted from."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from services.ledger.books import Budget, BudgetExceeded, Meter
from services.ledger.bounds import Bound, Bounds
from services.ledger.exceeded import exceeded, lacking
from services.ledger.holds import Part
from services.ledger.recalls import Recalls
from services.ledger.standings import Standings
from services.ledger.store import BudgetKey, Charge, LedgerAway, MeterKey, Standing, Store
from services.ledger.windows import BEGINNING

MOST_TRIES = 3
"""To lease, where it is found each time that enough has come back since it was refused."""


@dataclass(slots=True)
class Leases:
    store: Store
    replica: UUID
    now: Callable[[], datetime]
    lasting_s: float
    """How long a lease outlives the replica's last word."""
    bounds: Bounds
    stands: Standings
    recalls: Recalls
    meters: defaultdict[MeterKey, Meter] = field(default_factory=lambda: defaultdict(Meter))
    _leasing: dict[MeterKey, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def free(self, meter: MeterKey) -> int:
        return self.meters[meter].free

    def short(self, parts: Iterable[Part]) -> dict[MeterKey, int]:
        """What is missing for `parts` to be held."""
        meters, short = self.meters, {}
        for part in parts:
            if (amount := part.amount - meters[part.meter].free) > 0:
                short[part.meter] = amount
        return short

    def hold(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self.meters[part.meter] = self.meters[part.meter].hold(part.amount)

    def settled(self, part: Part, held: int, used: int) -> Charge:
        """Ends a hold of `part`, of which `used` is spent. What is left of it goes back with that where others may need it."""
        keeps = part.meter.budget not in self.recalls.budgets
        self.meters[part.meter], gone = self.meters[part.meter].settle(held, used, keeps=keeps)
        return Charge(part.meter, used, gone)

    def lessen(self, meter: MeterKey, amount: int) -> None:
        """The store has a lease smaller by `amount` already."""
        self.meters[meter] = self.meters[meter].lease(-amount)

    async def cover(self, parts: list[Part], bounds: Mapping[MeterKey, Bound], at: datetime) -> None:
        """Leases until every part fits, once others have returned what they can spare.

        Nothing is awaited after the last look, so that what is found free is still free for the caller.

        Raises:
            BudgetExceeded: a budget has too little left.
            LedgerAway
        """
        waited = set[BudgetKey]()
        while (lacks := await self._lease(parts, bounds, at)) is not None:
            part, refusal = lacks
            if part.meter.budget in waited or not await self.recalls.answered(part.meter):
                raise refusal
            waited.add(part.meter.budget)

    async def _lease(
        self, parts: list[Part], bounds: Mapping[MeterKey, Bound], at: datetime
    ) -> tuple[Part, BudgetExceeded] | None:
        """Leases until every part fits; one asker a meter at a time. What is lacking, where that cannot be."""
        locks = [self._leasing[part.meter] for part in sorted(parts, key=lambda part: part.meter)]
        for lock in locks:
            await lock.acquire()
        try:
            failed = 0
            while short := self.short(parts):
                given = await self.store.lease(self.replica, short, self._expires(at))
                for meter, amount in given.items():
                    self.meters[meter] = self.meters[meter].lease(amount)
                if given:
                    await self.stands.leased(given)
                    continue
                failed += 1
                if (lacks := await self.lacking(parts, bounds, at)) is not None:
                    return lacks
                if failed == MOST_TRIES:
                    raise LedgerAway
            return None
        finally:
            for lock in locks:
                lock.release()

    async def lacking(
        self, parts: list[Part], bounds: Mapping[MeterKey, Bound], at: datetime
    ) -> tuple[Part, BudgetExceeded] | None:
        """The first part whose budget has too little left, and how that refuses."""
        stands = await self.store.standing([part.meter for part in parts])
        left = {meter: one.remaining + self.free(meter) for meter, one in stands.items()}
        if (part := lacking(parts, left)) is None:
            return None
        return part, exceeded(part, bounds[part.meter].budget, left[part.meter], at)

    async def give_back(self, meters: Iterable[MeterKey]) -> None:
        """Returns what is idle of these leases. When the store does not answer, nobody knows whether it has them back: they are
        not granted again, and what is out returns when this replica ends."""
        idle = {meter: free for meter in meters if (free := self.free(meter)) > 0}
        for meter, amount in idle.items():
            self.lessen(meter, amount)
        if idle:
            await self.store.give_back(self.replica, idle)
            self.stands.given_back(idle)

    async def give_back_shared(self) -> None:
        """Returns what another replica may need at any moment: of what counts requests under way, of which nothing is ever spent, and
        of what is called back."""
        at, called = self.now(), self.recalls.budgets
        shared = {one.meter(at) for one in self.bounds.concurrent} & self.meters.keys()
        if called:
            shared |= {meter for meter in self.meters if meter.budget in called}
        await self.give_back(shared)

    async def extend(self, *, takes_back: bool) -> None:
        """Keeps them alive, and takes back those that have expired: of replicas that have died, and allowances."""
        at = self.now()
        await self.store.extend(self.replica, self._expires(at), at if takes_back else BEGINNING)

    def of(self, account: str, name: str) -> list[MeterKey]:
        return [one for one in self.meters if (one.account, one.name) == (account, name)]

    def forget(self, account: str, name: str) -> None:
        """Drops the meters of a budget that is no more."""
        for meter in self.of(account, name):
            del self.meters[meter]

    async def tidy(self) -> None:
        """Returns what is idle of windows that are over, and forgets them once they are empty."""
        at = self.now()
        over = [one for one in self.meters if self.bounds.over(one, at)]
        await self.give_back(over)
        for meter in [one for one in over if self.meters[one] == Meter()]:
            del self.meters[meter]
            self._leasing.pop(meter, None)

    async def standing(self, bounds: Iterable[Bound]) -> list[tuple[Budget, Standing, int]]:
        """Budgets, where each stands, and how much requests under way hold here."""
        at = self.now()
        keys = {one.meter(at): one.budget for one in bounds}
        stands = await self.store.standing(list(keys)) if keys else {}
        return [(keys[key], stands[key], self.meters[key].held) for key in keys if key in stands]

    def _expires(self, at: datetime) -> datetime:
        return at + timedelta(seconds=self.lasting_s)
