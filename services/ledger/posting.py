"""Endings on their way to the store: in groups, each durable before whoever waits for it hears."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg

from services.ledger.store import Ending, Entry, LedgerAway, Store

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Endings in memory and not yet posted; past that `Settle` is refused until the database is back."""
LONGEST_GROUP = 2_000
GATHER_S = 0.0003
"""How long an ending may wait for others to share its transaction."""


@dataclass(slots=True)
class Posting:
    store: Store
    posted: Callable[[Entry, Entry | None], None]
    """Hears of each ending, with the entry that stood already."""
    waiting: list[tuple[Ending, "asyncio.Future[Entry | None]"]] = field(default_factory=list)
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
                await self.post()
                wait = 0.05
            except (LedgerAway, asyncpg.PostgresError) as error:
                log.warning("settlements wait: %d, %s", len(self.waiting), type(error).__name__)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)

    async def post(self) -> None:
        """Posts one group. Those who come while it is under way make up the next."""
        group = self.waiting[:LONGEST_GROUP]
        if not group:
            self._wake.clear()
            return
        distinct = {ending.entry.reservation_id: ending for ending, _ in group}
        earlier = dict(zip(distinct, await self.store.end(list(distinct.values())), strict=True))
        del self.waiting[: len(group)]
        for ending, posted in group:
            stood = earlier[ending.entry.reservation_id]
            self.posted(ending.entry, stood)
            if not posted.done():
                posted.set_result(stood)
