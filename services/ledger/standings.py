"""Where the budgets stand that a replica grants from: what warnings, limits and metrics go by.

What this replica leases is counted at once, what others do as of the last look.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from msgspec import Struct

from services.ledger.books import Budget, Unit
from services.ledger.bounds import Bound, Bounds
from services.ledger.holds import Part
from services.ledger.store import MeterKey, Standing, Store


class Limit(Struct, frozen=True):
    """A rate limit, and what other requests may still take of it."""

    budget: Budget
    left: int
    resets: datetime


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

    async def leased(self, amounts: Mapping[MeterKey, int]) -> None:
        """So much more is leased here than was at the last look; those that were never looked at are now."""
        fresh = [meter for meter in amounts if meter not in self._stands]
        self._counted(amounts, 1)
        if fresh:
            self._stands |= await self.store.standing(fresh)

    def given_back(self, amounts: Mapping[MeterKey, int]) -> None:
        """So much less is leased here than was at the last look."""
        self._counted(amounts, -1)

    def _counted(self, amounts: Mapping[MeterKey, int], sign: int) -> None:
        for meter, amount in amounts.items():
            if (known := self._stands.get(meter)) is not None:
                self._stands[meter] = replace(known, leased=known.leased + sign * amount)

    def of(
        self, parts: Iterable[Part], bounds: Mapping[MeterKey, Bound], free: Callable[[MeterKey], int]
    ) -> tuple[tuple[str, ...], tuple[Limit, ...]]:
        """Budgets past their warning mark, and of requests and of tokens the limit with the least left. `free` tells what is idle
        of a lease."""
        told = [(part, bound) for part in parts if (bound := bounds[part.meter]).told]
        if not told:
            return (), ()
        warned: list[str] = []
        limits: dict[Unit, Limit] = {}
        for part, bound in told:
            stands, budget = self._stands.get(part.meter), bound.budget
            if stands is None:  # not looked at yet, or the budget was removed meanwhile
                continue
            left = budget.limit - stands.spent - stands.leased + max(free(part.meter), 0)
            if budget.warn_at and budget.limit - left >= budget.limit * budget.warn_at:
                warned.append(f"{budget.account}:{budget.name}")
            is_now = bound.key == part.meter  # and no other caller has seen its window end
            if budget.paces and is_now:
                nearest = limits.get(part.unit)
                if nearest is None or left < nearest.left:
                    limits[part.unit] = Limit(budget, max(left, 0), bound.until)
        return tuple(warned), tuple(limits.values())

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
