"""Where the budgets stand that a replica grants from, as of its last look: what warnings and metrics go by."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.ledger.books import Budget
from services.ledger.bounds import Bounds
from services.ledger.holds import Part
from services.ledger.store import MeterKey, Standing, Store


@dataclass(slots=True)
class Standings:
    store: Store
    bounds: Bounds
    _stands: dict[MeterKey, Standing] = field(default_factory=dict)
    _asked: set[MeterKey] = field(default_factory=set)

    def asked(self, parts: Iterable[Part]) -> None:
        """Something is held of these: they are looked at next time."""
        self._asked.update(part.meter for part in parts)

    async def look(self) -> None:
        """Looks at those that something was held of since the last look."""
        meters, self._asked = self._asked, set()
        if meters:
            self._stands |= await self.store.standing(list(meters))

    async def look_at(self, meters: Collection[MeterKey]) -> None:
        """Looks at `meters`, and forgets all others."""
        self._asked = set()
        self._stands = await self.store.standing(list(meters)) if meters else {}

    def warnings(
        self, parts: Iterable[Part], budgets: Mapping[MeterKey, Budget], free: Callable[[MeterKey], int]
    ) -> tuple[str, ...]:
        """Budgets past their warning mark; `free` tells what is idle of a lease."""
        warned = []
        for part in parts:
            budget, stands = budgets[part.meter], self._stands.get(part.meter)
            if budget.warn_at and stands is not None:
                gone = stands.spent + stands.leased - max(free(part.meter), 0)
                if gone >= budget.limit * budget.warn_at:
                    warned.append(f"{budget.account}:{budget.name}")
        return tuple(warned)

    def past_marks(self, at: datetime) -> list[tuple[Budget, Standing, MeterKey]]:
        """Budgets that have spent more than their warning mark."""
        return [(one, found, key) for one, found, key in self.marked(at) if found.spent >= one.limit * one.warn_at]

    def marked(self, at: datetime) -> list[tuple[Budget, Standing, MeterKey]]:
        """Budgets with a warning mark, in their window that is now."""
        stands = ((self.bounds.of(key.account, key.name), found, key) for key, found in self._stands.items())
        return [
            (one.budget, found, key)
            for one, found, key in stands
            if one is not None and one.budget.warn_at and one.meter(at) == key
        ]
