"""Keeps the share of wrong answers under a bound: how sure a hit must be, learnt as look-ups and reports come. Pure.

The verifier gives each hit its chance of being right. Of all look-ups at most `limit` may be answered wrongly, so the
threshold is the lowest at which the chances of error of what would be served sum to no more than that. What is reported
corrects the chances: where hits are wrong more often than they said, all of them count for more (the recalibration of
vCache, Schroeder et al. 2025, for a tenant; an entry's own is in `proof.py`).
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

STEPS = 64
EDGES: npt.NDArray[np.float64] = 1 - np.geomspace(0.001, 0.5, STEPS)
"""Thresholds that may be chosen, from the surest down; evenly spaced in the chance of error's order of magnitude."""
BELIEVED = 150.0
"""Look-ups that the first threshold stands for, until there are more of the tenant's own."""
KEPT = 20_000.0
"""Look-ups after which older ones fade."""
AIMED = 0.8
"""Of the bound, what is aimed at: it is to be kept, not to be met half of the time."""
HORIZON, MOST_CAUGHT_UP = 500.0, 2.0
"""Look-ups within which what went wrong too often is made up for, or what was spared is used; that at so much more at most."""
REPORTS = 2.0
"""Wrong answers that a new tenant's chances are believed like."""
MOST_EXCESS, LEAST_EXCESS = 20.0, 0.2
MOST_TENANTS = 10_000


@dataclass(slots=True)
class Bound:
    limit: float
    """Of look-ups, the share that may be answered wrongly."""
    first: float
    """The threshold to begin with."""
    lookups: float = 0.0
    expected: float = 0.0
    """Errors that the chances of the reported hits foretold."""
    wrong: float = 0.0
    """Errors that were reported."""
    _spent: float = 0.0
    """The chances of error of what was served."""
    _errors: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(STEPS))
    """The chances of error of all best candidates, by the surest threshold that each would pass."""

    def looked_up(self, chance: float | None, served: bool = False) -> None:
        """Counts a look-up, the best chance that was found for it, and whether that was served."""
        if self.lookups >= KEPT:
            self.lookups, self._errors, self._spent = self.lookups / 2, self._errors / 2, self._spent / 2
        self.lookups += 1
        if served and chance is not None:
            self._spent += 1 - chance
        if chance is not None and chance >= EDGES[-1]:
            place = int(np.searchsorted(-EDGES, -chance))
            self._errors[place] += 1 - chance

    def reported(self, chance: float, right: bool) -> None:
        """Learns how a hit that was served with `chance` turned out."""
        self.expected += 1 - chance
        self.wrong += not right

    @property
    def excess(self) -> float:
        """How many times more often hits are wrong than their chances say."""
        said = (self.wrong + REPORTS) / (self.expected + REPORTS)
        return min(MOST_EXCESS, max(LEAST_EXCESS, said))

    def threshold(self) -> float:
        """The chance of being right from which a hit is served now."""
        excess = self.excess
        aimed = AIMED * self.limit
        saved = aimed * self.lookups - self._spent * excess
        allowed = min(MOST_CAUGHT_UP * aimed, max(0.0, aimed + saved / HORIZON))
        able = EDGES[np.cumsum(self._errors) * excess <= allowed * self.lookups]
        own = float(able[-1]) if len(able) else float(EDGES[0])
        share = self.lookups / (self.lookups + BELIEVED)
        return float(1 - (1 - own) ** share * (1 - self.first) ** (1 - share))


@dataclass(slots=True)
class Bounds:
    """What share of each tenant's look-ups may be answered wrongly, and the thresholds that follow."""

    limit: float
    first: float
    """The threshold of a tenant of whom nothing is known yet."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Of tenants with a limit of their own."""
    _of: OrderedDict[str, Bound] = field(default_factory=OrderedDict)

    def forget(self, tenant: str) -> None:
        self._of.pop(tenant, None)

    def of(self, tenant: str) -> Bound:
        """Kept for the [MOST_TENANTS][] that asked last."""
        found = self._of.get(tenant)
        if found is None:
            found = self._of[tenant] = Bound(self.limits.get(tenant, self.limit), self.first)
            if len(self._of) > MOST_TENANTS:
                self._of.popitem(last=False)
        self._of.move_to_end(tenant)
        return found
