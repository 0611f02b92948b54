"""One replica's part of the ledger: grants from leases in memory, posts endings in groups.

A lease is durable before anything is granted from it, so no crash can make two replicas grant the same money.
A settlement is durable before it is acknowledged. In between, a dead replica's lease stays out until it
expires, which is later than any hold made from it.
"""

import asyncio
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import asyncpg
from msgspec.structs import replace

from services.ledger.books import (
    AlreadySettled,
    CostAboveCeiling,
    Need,
    ReservationIdReused,
    covers,
    worst,
)
from services.ledger.bounds import Bound, Bounds
from services.ledger.granted import Granted, Live
from services.ledger.holds import Attempt, Hold, Part
from services.ledger.leases import Leases
from services.ledger.posting import EntryUnfit, Posting
from services.ledger.recalls import Recalls
from services.ledger.safeguards import Safeguard
from services.ledger.standings import Standings
from services.ledger.store import Charge, Ending, Entry, LedgerAway, MeterKey, Store
from services.ledger.suspensions import Suspension

log = logging.getLogger(__name__)

MOST_REMEMBERED = 100_000


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
    _live: dict[UUID, Live] = field(default_factory=dict)
    _ended: OrderedDict[UUID, Entry] = field(default_factory=OrderedDict)
    _late: dict[UUID, list[tuple[MeterKey, int]]] = field(default_factory=dict)
    """Of holds that have expired, what their leases keep."""
    _revision: int = -1
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    stands: Standings = field(init=False)
    leases: Leases = field(init=False)
    _recalls: Recalls = field(init=False)
    _posting: Posting = field(init=False)

    def __post_init__(self) -> None:
        self.stands = Standings(self.store, self.bounds)
        self._recalls = Recalls(self.store, self.id, self.now, self.times.refresh_s)
        lasting_s = 2 * self.times.hold_s
        self.leases = Leases(self.store, self.id, self.now, lasting_s, self.bounds, self.stands, self._recalls)
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
        if self.leases.short(parts):
            await self.leases.cover(parts, bounds, at)
            if (live := self._live.get(reservation_id)) is not None:  # its twin came through meanwhile
                return live.granted
        self.leases.hold(parts)
        expires = at.timestamp() + self.times.hold_s
        hold = Hold(reservation_id, self.id, key_id, account, dearest, expires, tuple(parts), attempts)
        self.stands.asked(parts)
        granted = Granted(hold, *self.stands.of(parts, bounds, self.leases.free))
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
            if ours:
                charges.append(self.leases.settled(part, part.amount if live else 0, used))
            else:
                charges.append(Charge(part.meter, used, used if hold.allowance else part.amount))
        return tuple(charges)

    async def run(self) -> None:
        """Posts endings, keeps leases alive, lets holds expire, until cancelled."""
        await asyncio.gather(self._posting.run(), self._beat_forever())

    async def close(self) -> None:
        """Posts what still waits and returns what is idle."""
        while self._posting.waiting:
            await self.post()
        await self.leases.give_back(list(self.leases.meters))

    def _parts(self, account: str, needs: list[Need], at: datetime) -> tuple[list[Part], dict[MeterKey, Bound]]:
        parts, bounds = [], {}
        for one in self.bounds.above(account):
            budget = one.budget
            if (amount := worst(budget, needs)) > 0:
                key = one.meter(at)
                bounds[key] = one
                parts.append(Part(key, budget.unit, budget.model, amount))
        return parts, bounds

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
        kept = self._late.pop(entry.reservation_id, None) if entry.outcome == "expired" else None
        if earlier is not None:
            for meter, amount in kept or ():
                self.leases.lessen(meter, amount)

    async def _beat_forever(self) -> None:
        beat = reached = time.monotonic()
        while True:
            await asyncio.sleep(self.times.refresh_s)
            try:
                await self.look()
                if time.monotonic() - beat < self.times.heartbeat_s:
                    await self.stands.look()
                    continue
                beat = time.monotonic()
                await self.beat(takes_back=beat - reached >= self.times.patience_s)
                await self.stands.look_at(self.leases.meters)
            except (LedgerAway, asyncpg.PostgresError) as error:
                reached = time.monotonic()
                log.warning("the ledger's database is away: %s", type(error).__name__)

    async def look(self) -> None:
        """Sees what others have changed, lets holds expire, and returns what others may need."""
        await self.load()
        await self._recalls.look()
        self.expire()
        await self.leases.give_back_shared()

    async def beat(self, *, takes_back: bool = True) -> None:
        """Keeps this replica's leases alive, takes back those that have expired, and forgets what is over."""
        await self.leases.extend(takes_back=takes_back)
        await self.leases.tidy()

    def expire(self) -> int:
        """Ends holds that nobody settled in time, as facts like any other; how many."""
        at = self.now()
        late = [hold for live in self._live.values() if (hold := live.granted.hold).expires <= at.timestamp()]
        for hold in late:
            entry = Entry(hold.reservation_id, "expired", at, hold.key_id, hold.account, held=hold.nano_usd)
            charges = self._charges(hold, Need("", 0, 0, 0))
            self._late[hold.reservation_id] = [
                (part.meter, part.amount - charge.unleased) for part, charge in zip(hold.parts, charges, strict=True)
            ]
            self._queued(Ending(entry, hold.replica, charges))
        return len(late)


def _same(stands: Entry, asked: Entry) -> Entry:
    if stands.same(asked):
        return stands
    raise _ended_as(stands)


def _ended_as(entry: Entry) -> AlreadySettled:
    return AlreadySettled(reservation_id=entry.reservation_id, outcome=entry.outcome, cost_nano_usd=entry.cost)
