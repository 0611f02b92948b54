"""One replica's part of the ledger: grants from leases in memory, posts endings in groups.

A lease is durable before anything is granted from it, so no crash can make two replicas grant the same money.
A settlement is durable before it is acknowledged. In between, a dead replica's lease stays out until it
expires, which is later than any hold made from it.
"""

import asyncio
import hmac
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import asyncpg
from msgspec.structs import replace

from services.ledger.books import (
    AlreadySettled,
    Budget,
    BudgetExceeded,
    CostAboveCeiling,
    Meter,
    Need,
    ReservationIdReused,
    covers,
    worst,
)
from services.ledger.bounds import Bound, Bounds
from services.ledger.exceeded import exceeded
from services.ledger.granted import Granted, Live
from services.ledger.holds import Attempt, Hold, Part
from services.ledger.posting import EntryUnfit, Posting
from services.ledger.safeguards import Safeguard
from services.ledger.standings import Standings
from services.ledger.store import Charge, Ending, Entry, LedgerAway, MeterKey, Standing, Store
from services.ledger.suspensions import Suspension
from services.ledger.windows import BEGINNING

log = logging.getLogger(__name__)

MOST_REMEMBERED = 100_000
MOST_TRIES = 3
"""To lease, where it is found each time that enough has come back since it was refused."""


@dataclass(frozen=True, slots=True)
class Times:
    hold_s: float = 180.0
    """A hold returns by itself after so long: longer than any request lives."""
    heartbeat_s: float = 5.0
    patience_s: float = 15.0
    """Once the ledger is back, those who waited for it settle first: what has expired meanwhile is taken back after so long."""
    refresh_s: float = 0.5
    """How old this replica's view of budgets and suspensions may be; where a budget stands that nothing was held of lately, a heartbeat."""


@dataclass(slots=True)
class Replica:
    store: Store
    times: Times = field(default_factory=Times)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    id: UUID = field(default_factory=uuid4)
    suspended: dict[str, Suspension] = field(default_factory=dict)
    """Accounts that are stopped, as of the last look."""
    bounds: Bounds = field(default_factory=Bounds)
    safeguards: dict[str, Safeguard] = field(default_factory=dict)
    _meters: defaultdict[MeterKey, Meter] = field(default_factory=lambda: defaultdict(Meter))
    _live: dict[UUID, Live] = field(default_factory=dict)
    _ended: OrderedDict[UUID, Entry] = field(default_factory=OrderedDict)
    _late: dict[UUID, Hold] = field(default_factory=dict)
    _revision: int = -1
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _leasing: dict[MeterKey, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    stands: Standings = field(init=False)
    _posting: Posting = field(init=False)

    def __post_init__(self) -> None:
        self.stands = Standings(self.store, self.bounds)
        self._posting = Posting(self.store, self._reconcile)

    async def load(self) -> None:
        """Reads budgets, suspensions and safeguards, where they have changed; called at the start, and again as they may."""
        async with self._loading:
            if (revision := await self.store.revision()) == self._revision:
                return
            self.bounds.load(await self.store.budgets())
            self.suspended = {one.account: one for one in await self.store.suspensions()}
            self.safeguards = {one.account: one for one in await self.store.safeguards()}
            self._revision = revision  # what has changed since it was told is read again

    def reserved(self, reservation_id: UUID) -> Hold | None:
        live = self._live.get(reservation_id)
        return live.granted.hold if live else None

    def told(self, reservation_id: UUID, sealed: bytes) -> None:
        """Keeps a hold as it was given away."""
        if (live := self._live.get(reservation_id)) is not None:
            live.sealed = sealed

    def shown(self, reservation_id: UUID, sealed: bytes) -> Hold | None:
        """The hold that was given away as `sealed`, where it lives here."""
        live = self._live.get(reservation_id)
        return live.granted.hold if live is not None and hmac.compare_digest(live.sealed, sealed) else None

    async def reserve(
        self,
        reservation_id: UUID,
        account: str,
        key_id: str,
        needs: list[Need],
        attempts: tuple[Attempt, ...],
        ceiling: int,
        trusted: bool = False,
    ) -> Granted:
        """Holds the worst of `needs` against every budget above `account`.

        A `trusted` further try gets the hold of an earlier one that still lives, whatever it needs: who settles first has paid.

        Raises:
            BudgetExceeded: a budget has too little left; nothing was held.
            CostAboveCeiling: the worst case is dearer than `ceiling`, where that is not 0.
            ReservationIdReused: the id came before with other needs.
            LedgerAway: a lease is needed and the database is away.
        """
        asked = (account, key_id, tuple(needs), attempts)
        if (live := self._live.get(reservation_id)) is not None:
            if live.asked != asked and not trusted:
                raise ReservationIdReused(reservation_id=reservation_id)
            return live.granted
        if (ended := self._ended.get(reservation_id)) is not None:
            raise _ended_as(ended)
        dearest = max((need.nano_usd for need in needs), default=0)
        if ceiling and dearest > ceiling:
            raise CostAboveCeiling(amount_nano_usd=dearest, ceiling_nano_usd=ceiling)
        at = self.now()
        parts, bounds = self._parts(account, needs, at)
        if self._short(parts):
            await self._lease(parts, bounds, at)
            if (live := self._live.get(reservation_id)) is not None:  # its twin came through meanwhile
                return live.granted
        for part in parts:
            self._meters[part.meter] = self._meters[part.meter].hold(part.amount)
        expires = at.timestamp() + self.times.hold_s
        hold = Hold(reservation_id, self.id, key_id, account, dearest, expires, tuple(parts), attempts)
        self.stands.asked(parts)
        granted = Granted(hold, *self.stands.of(parts, bounds, lambda meter: self._meters[meter].free))
        self._live[reservation_id] = Live(granted, asked)
        return granted

    async def free_id(self, reservation_id: UUID, acts: bool) -> UUID | None:
        """The id for a further try: the next one of a row whose earlier ids came to nothing. None when one was charged.

        Raises:
            AlreadySettled: one was charged, and who asks may not have that for nothing.
        """
        while (ended := await self._end_of(reservation_id)) is not None:
            if ended.outcome != "settled":
                ended = await self._end_of(uuid5(reservation_id, "late")) or ended
            if ended.outcome == "settled":
                if not acts:
                    raise _ended_as(ended)
                return None
            reservation_id = uuid5(reservation_id, "again")
        return reservation_id

    async def _end_of(self, reservation_id: UUID) -> Entry | None:
        """From memory, or from another replica or an earlier life by the store."""
        if reservation_id in self._live:
            return None
        return self._ended.get(reservation_id) or await self.store.entry(reservation_id)

    async def end(self, hold: Hold, entry: Entry, need: Need, *, again: bool = False) -> Entry:
        """Replaces `hold` by what was used; durable when it returns. Returns the entry that stands.
        A further try (`again`) is charged although an earlier one has given the hold back meanwhile.

        Raises:
            AlreadySettled: it ended before, at another cost.
            LedgerAway: the database is away and too much waits already. Try again: nothing is lost.
            EntryUnfit: the database takes everything but this entry.
        """
        if (ended := self._ended.get(hold.reservation_id)) is not None:
            return await self._again(ended, hold, entry, need, again)
        self._posting.room()
        earlier = await self._queued(Ending(entry, hold.replica, self._charges(hold, need), hold.allowance))
        if earlier is not None:
            self._ended[hold.reservation_id] = earlier
            return await self._again(earlier, hold, entry, need, again)
        return entry

    def _queued(self, ending: Ending) -> "asyncio.Future[Entry | None]":
        self._remember(ending.entry)
        return self._posting.add(ending)

    async def _again(self, stands: Entry, hold: Hold, entry: Entry, need: Need, again: bool) -> Entry:
        """What a second ending means: a repetition, a contradiction, or a settlement after the hold has returned."""
        returned = stands.outcome == "expired" or (again and stands.outcome == "released")
        if not returned or entry.outcome != "settled":
            return _same(stands, entry)
        late = replace(entry, reservation_id=uuid5(hold.reservation_id, "late"))
        if (known := self._ended.get(late.reservation_id)) is None:
            charges = tuple(
                Charge(part.meter, need.used(part.unit), 0) for part in hold.parts if covers(part.model, need.model)
            )
            known = await self._queued(Ending(late, hold.replica, charges)) or late
        return _same(known, late)

    def _charges(self, hold: Hold, need: Need) -> tuple[Charge, ...]:
        """Ends the hold in memory, if it is ours; returns what that does to the store."""
        live, ours = self._live.pop(hold.reservation_id, None), hold.replica == self.id
        charges = []
        for part in hold.parts:
            used = need.used(part.unit) if covers(part.model, need.model) else 0
            unleased = used if hold.allowance else part.amount
            if ours:
                self._meters[part.meter], unleased = self._meters[part.meter].settle(part.amount if live else 0, used)
            charges.append(Charge(part.meter, used, unleased))
        return tuple(charges)

    async def run(self) -> None:
        """Posts endings, keeps leases alive, lets holds expire, until cancelled."""
        await asyncio.gather(self._posting.run(), self._beat_forever())

    async def close(self) -> None:
        """Posts what still waits and returns what is idle."""
        while self._posting.waiting:
            await self.post()
        await self._return(list(self._meters))

    async def give_back(self, account: str, name: str) -> None:
        """Returns idle parts of a budget's leases: called before its limit changes."""
        await self._return([one for one in self._meters if (one.account, one.name) == (account, name)])

    async def _return(self, meters: Iterable[MeterKey]) -> None:
        """Returns what is idle of these leases. When the store does not answer, nobody knows whether it has them back: they are
        not granted again, and what is out returns when this replica ends."""
        idle = {meter: free for meter in meters if (free := self._meters[meter].free) > 0}
        for meter, amount in idle.items():
            self._meters[meter] = self._meters[meter].lease(-amount)
        if idle:
            await self.store.give_back(self.id, idle)
            self.stands.given_back(idle)

    def forget(self, account: str, name: str) -> None:
        """Drops the meters of a budget that is no more."""
        for meter in [one for one in self._meters if (one.account, one.name) == (account, name)]:
            del self._meters[meter]

    async def standing(self, bounds: Iterable[Bound]) -> list[tuple[Budget, Standing, int]]:
        """Budgets, where each stands, and how much requests under way hold here."""
        at = self.now()
        keys = {one.meter(at): one.budget for one in bounds}
        stands = await self.store.standing(list(keys)) if keys else {}
        return [(keys[key], stands[key], self._meters[key].held) for key in keys if key in stands]

    def _shared(self) -> list[MeterKey]:
        """Meters whose idle part another replica may need at any moment: nothing of them is ever spent."""
        return [key for one in self.bounds.concurrent if (key := one.meter(self.now())) in self._meters]

    def _parts(self, account: str, needs: list[Need], at: datetime) -> tuple[list[Part], dict[MeterKey, Bound]]:
        parts, bounds = [], {}
        for one in self.bounds.above(account):
            budget = one.budget
            if (amount := worst(budget, needs)) > 0:
                key = one.meter(at)
                bounds[key] = one
                parts.append(Part(key, budget.unit, budget.model, amount))
        return parts, bounds

    async def _lease(self, parts: list[Part], bounds: Mapping[MeterKey, Bound], at: datetime) -> None:
        """Leases until every part fits; one asker a meter at a time.

        Nothing is awaited after the last look, so that what is found free is still free for the caller.
        """
        locks = [self._leasing[part.meter] for part in sorted(parts, key=lambda part: part.meter)]
        for lock in locks:
            await lock.acquire()
        try:
            failed = 0
            while short := self._short(parts):
                expires = datetime.fromtimestamp(at.timestamp() + 2 * self.times.hold_s, UTC)
                given = await self.store.lease(self.id, short, expires)
                for meter, amount in given.items():
                    self._meters[meter] = self._meters[meter].lease(amount)
                if given:
                    await self.stands.leased(given)
                    continue
                failed += 1
                refusal = await self.refusal(parts, bounds, at)
                if isinstance(refusal, BudgetExceeded) or failed == MOST_TRIES:
                    raise refusal
        finally:
            for lock in locks:
                lock.release()

    def _short(self, parts: Iterable[Part]) -> dict[MeterKey, int]:
        short = {}
        for part in parts:
            if (amount := part.amount - self._meters[part.meter].free) > 0:
                short[part.meter] = amount
        return short

    async def refusal(
        self, parts: list[Part], bounds: Mapping[MeterKey, Bound], at: datetime
    ) -> BudgetExceeded | LedgerAway:
        stands = await self.store.standing([part.meter for part in parts])
        left = {meter: one.remaining + self._meters[meter].free for meter, one in stands.items()}
        return exceeded(parts, bounds, left, at) or LedgerAway()

    def _remember(self, entry: Entry) -> None:
        self._ended[entry.reservation_id] = entry
        while len(self._ended) > MOST_REMEMBERED:
            self._ended.popitem(last=False)  # which a dict finds behind all that it has lost

    async def post(self) -> None:
        """Posts one group of endings."""
        await self._posting.post()

    def _reconcile(self, entry: Entry, earlier: Entry | EntryUnfit | None) -> None:
        """A hold that expired here although another replica had settled it: the lease is smaller by it. What cannot be written has not
        ended."""
        if isinstance(earlier, EntryUnfit):
            self._ended.pop(entry.reservation_id, None)
            self._late.pop(entry.reservation_id, None)
            return
        if entry.outcome != "expired" or (hold := self._late.pop(entry.reservation_id, None)) is None:
            return
        if earlier is not None:
            for part in hold.parts:
                self._meters[part.meter] = self._meters[part.meter].lease(-part.amount)

    async def _beat_forever(self) -> None:
        beat = reached = time.monotonic()
        while True:
            await asyncio.sleep(self.times.refresh_s)
            try:
                await self.load()
                self.expire()
                await self._return(self._shared())
                if time.monotonic() - beat < self.times.heartbeat_s:
                    await self.stands.look()
                    continue
                beat = time.monotonic()
                await self.beat(takes_back=beat - reached >= self.times.patience_s)
                await self.stands.look_at(self._meters)
            except (LedgerAway, asyncpg.PostgresError) as error:
                reached = time.monotonic()
                log.warning("the ledger's database is away: %s", type(error).__name__)

    async def beat(self, *, takes_back: bool = True) -> None:
        """Keeps this replica's leases alive, and takes back those that have expired: of replicas that have died, and allowances."""
        at = self.now()
        expires = datetime.fromtimestamp(at.timestamp() + 2 * self.times.hold_s, UTC)
        await self.store.extend(self.id, expires, at if takes_back else BEGINNING)
        await self._tidy(at)

    def expire(self) -> int:
        """Ends holds that nobody settled in time, as facts like any other; how many."""
        at = self.now()
        late = [hold for live in self._live.values() if (hold := live.granted.hold).expires <= at.timestamp()]
        for hold in late:
            entry = Entry(hold.reservation_id, "expired", at, hold.key_id, hold.account, held=hold.nano_usd)
            charges = self._charges(hold, Need("", 0, 0, 0))
            self._late[hold.reservation_id] = hold
            self._queued(Ending(entry, hold.replica, charges))
        return len(late)

    async def _tidy(self, at: datetime) -> None:
        """Returns what is idle of windows that are over, and forgets them once they are empty."""
        over = [one for one in self._meters if self.bounds.over(one, at)]
        await self._return(over)
        for meter in [one for one in over if self._meters[one] == Meter()]:
            del self._meters[meter]
            self._leasing.pop(meter, None)


def _same(stands: Entry, asked: Entry) -> Entry:
    if stands.same(asked):
        return stands
    raise _ended_as(stands)


def _ended_as(entry: Entry) -> AlreadySettled:
    return AlreadySettled(reservation_id=entry.reservation_id, outcome=entry.outcome, cost_nano_usd=entry.cost)
