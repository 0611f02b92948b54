"""Endings on their way to the store: in groups, each durable before whoever waits for it hears."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg

from services.ledger.store import Ending, Entry, LedgerAway, Store
from services.runtime.errors import Failure, Kind

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Endings in memory and not yet posted; past that `Settle` is refused until the database is back."""
LONGEST_GROUP = 2_000
GATHER_S = 0.0003
"""How long an ending may wait for others to share its transaction."""
UNFIT = (asyncpg.DataError, ValueError)
"""What a database says of a value that it cannot take, asked again as often as one likes."""
ON_ITS_WAY = 3
"""Turns of the loop until a statement has left: a connection is taken from the pool first."""


class EntryUnfit(Failure):
    kind, reason = Kind.INVALID, "ENTRY_UNFIT"
    text = "the entry cannot be written: {why}"


@dataclass(slots=True)
class Posting:
    """Of callers that come back as soon as they hear, half are at work while the other half's group is at the database."""

    store: Store
    posted: Callable[[Entry, "Entry | EntryUnfit | None"], None]
    """Hears of each ending, with the entry that stood already, or why there is none."""
    waiting: list[tuple[Ending, "asyncio.Future[Entry | None]"]] = field(default_factory=list)
    _through: list[tuple["asyncio.Future[Entry | None]", "Entry | EntryUnfit | None"]] = field(default_factory=list)
    """Durable, or found unfit, and nobody has been told."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def room(self) -> None:
        """
        Raises:
            LedgerAway: too much waits.
        """
        if len(self.waiting) >= MOST_WAITING:
            raise LedgerAway

    def add(self, ending: Ending) -> "asyncio.Future[Entry | None]":
        posted: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self.waiting.append((ending, posted))
        self._wake.set()
        return posted

    async def run(self) -> None:
        """Until cancelled."""
        wait = 0.05
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self._flow()
                wait = 0.05
            except (LedgerAway, asyncpg.PostgresError) as error:
                log.warning("settlements wait: %d, %s", len(self.waiting), type(error).__name__)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)

    async def _flow(self) -> None:
        """Posts group after group, for as long as somebody comes; those of one hear while the next is on its way."""
        try:
            while self.waiting:
                await asyncio.gather(self._post(), self._tell_meanwhile())
                if not self.waiting:
                    self._tell(len(self._through) // 2)
                    await _turns()
            self._wake.clear()
        finally:
            self._tell()

    async def post(self) -> None:
        """Posts one group. Those who come while it is under way make up the next."""
        await self._post()
        self._tell()

    async def _post(self) -> None:
        if not (group := self.waiting[:LONGEST_GROUP]):
            return
        distinct = {ending.entry.reservation_id: ending for ending, _ in group}
        earlier = dict(zip(distinct, await self._ended(list(distinct.values())), strict=True))
        del self.waiting[: len(group)]
        for ending, posted in group:
            stood = earlier[ending.entry.reservation_id]
            self.posted(ending.entry, stood)
            self._through.append((posted, stood))

    async def _ended(self, endings: list[Ending]) -> "list[Entry | EntryUnfit | None]":
        """The entries that stood already. One that cannot be written holds up none of the others: they are told apart by halves."""
        try:
            return [*await self.store.end(endings)]
        except UNFIT as error:
            if len(endings) > 1:
                half = len(endings) // 2
                return [*await self._ended(endings[:half]), *await self._ended(endings[half:])]
            log.error("an entry cannot be written: %s", type(error).__name__)
            return [EntryUnfit(why=type(error).__name__)]

    async def _tell_meanwhile(self) -> None:
        await _turns()
        self._tell()

    def _tell(self, first: int | None = None) -> None:
        told, self._through[:first] = self._through[:first], []
        for posted, stood in told:
            if posted.done():
                continue
            if isinstance(stood, EntryUnfit):
                posted.set_exception(stood)
            else:
                posted.set_result(stood)


async def _turns() -> None:
    for _ in range(ON_ITS_WAY):
        await asyncio.sleep(0)
