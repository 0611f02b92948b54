"""Near the end of a budget, what replicas have leased of it and do not use is called back.

Whoever would refuse a request for what others may have to spare says so in the store, and waits for as long as they take to look.
For a while each of them leases by the request then, and returns at once what it does not use: grants go one by one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from services.ledger.store import BudgetKey, MeterKey, Store

LASTS = timedelta(seconds=30)
"""How long a budget is called back for, and not called back again."""
SLACK = 1.2
"""Looks that one of another replica may take: a loop is late at times."""


@dataclass(slots=True)
class Recalls:
    store: Store
    replica: UUID
    now: Callable[[], datetime]
    look_s: float
    """How often every replica looks."""
    budgets: frozenset[BudgetKey] = frozenset()
    """Called back by anybody, as of the last look."""
    _answered: dict[BudgetKey, datetime] = field(default_factory=dict)
    """When the others have had their time to return what is idle of those that were called back here."""

    async def look(self) -> None:
        at = self.now()
        self.budgets = frozenset(await self.store.recalled(at))
        self._answered = {budget: over for budget, over in self._answered.items() if at < over + LASTS}

    async def answered(self, meter: MeterKey) -> bool:
        """Calls back a budget, and returns once the others have had the time to return what is idle of it. False when nothing is to be
        waited for: no other leases any, or it was called back a while ago.

        Raises:
            LedgerAway
        """
        at, budget = self.now(), meter.budget
        over = self._answered.get(budget)
        if over is None or at >= over + LASTS:
            self._answered[budget] = over = at + timedelta(seconds=self.look_s * SLACK)
            if not await self.store.recall(self.replica, meter, at + LASTS):
                self._answered[budget] = at
                return False
        if (wait := (over - self.now()).total_seconds()) <= 0:
            return False
        await asyncio.sleep(wait)
        return True
