"""Watches over keys and budgets: what a safeguard has seen is told, slowed down or stopped, and people hear of it."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.ledger.replica import Replica
from services.ledger.safeguards import Action, Safeguard, Seen, Throttled, Watch, nearest
from services.ledger.store import Alert, LedgerAway, Store
from services.ledger.suspensions import Suspension
from services.runtime.identity import AccountSuspended, Caller

log = logging.getLogger(__name__)

LOOKS_EVERY_S = 1.0
AGAIN_S = 600.0
"""What goes on is told again after so long."""
MOST_TOLD = 10_000


@dataclass(slots=True)
class Guardian:
    store: Store
    replica: Replica
    watch: Watch = field(default_factory=Watch)
    _told: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _telling: set["asyncio.Task[None]"] = field(default_factory=set)

    async def checked(self, caller: Caller, likeness: bytes, cost: int, at: datetime) -> list[str]:
        """What is to be warned of as `caller` asks for what may cost `cost` nano-dollars.

        Raises:
            Throttled, AccountSuspended: its safeguard says so.
        """
        guard = nearest(self.replica.safeguards, caller.account)
        if guard is None:
            return []
        if caller.acts:  # a batch is alike by design, and was handed in once
            likeness = b""
        seen = self.watch.asks(caller.key_id, guard, likeness, cost, at.timestamp())
        for one in seen:
            await self._acted(caller, guard, one, at)
        return [one.kind for one in seen]

    async def run(self) -> None:
        """Tells of budgets that pass their warning mark, until cancelled."""
        while True:
            for budget, stands, meter in self.replica.stands.past_marks(self.replica.now()):
                share = f"{stands.spent / budget.limit:.0%}" if budget.limit else "all"
                text = (
                    f"budget {budget.name} of {budget.account} has spent {share} of {budget.limit} {budget.unit.value}"
                )
                once = f"budget/{budget.account}/{budget.name}/{budget.limit}/{meter.started.isoformat()}"
                self._tell(Alert("budget_warning", budget.account, budget.name, text, datetime.now(UTC)), once)
            await asyncio.sleep(LOOKS_EVERY_S)

    def suspended(self, made: Suspension) -> None:
        """People hear that an account was stopped."""
        text = f"{made.account} was suspended: {made.reason}" if made.reason else f"{made.account} was suspended"
        alert = Alert("suspended", made.account, made.key_id, text, made.since)
        self._tell(alert, f"suspended/{made.account}/{made.since.isoformat()}")

    async def _acted(self, caller: Caller, guard: Safeguard, seen: Seen, at: datetime) -> None:
        alert = Alert(seen.kind, caller.account, caller.key_id, seen.text, at)
        self._tell(alert, f"{seen.kind}/{caller.key_id}/{int(at.timestamp() // AGAIN_S)}")
        if caller.admin:
            return  # who would resume whoever resumes others?
        if guard.action is Action.SUSPEND:
            self.suspended(await self.store.suspend(Suspension(caller.account, seen.text, at)))
            await self.replica.load()
            raise AccountSuspended(account=caller.account)
        if guard.action is Action.THROTTLE and (wait := self.watch.let_through(caller.key_id, at.timestamp())):
            raise Throttled(key_id=caller.key_id, what=seen.text, retry_after_s=wait)

    def _tell(self, alert: Alert, once: str) -> None:
        """Beside whatever is going on: nobody waits for an alert to be kept."""
        if once in self._told:
            return
        self._told[once] = None
        while len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        task = asyncio.create_task(self._kept(alert, once))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _kept(self, alert: Alert, once: str) -> None:
        try:
            await self.store.add_alert(alert, once)
        except LedgerAway:
            log.warning("an alert could not be kept: %s of %s", alert.kind, alert.account)
            self._told.pop(once, None)  # seen again it is tried again
