"""What the cache did for each tenant and template: counts since this replica began, and how right its hits were. Pure."""

from bisect import bisect_right
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

FROM = (0.0, 0.8, 0.9, 0.95, 0.98, 0.995)
"""Least chances of the groups in which hits are counted."""
MOST_KEPT = 20_000


@dataclass(slots=True)
class Calibration:
    hits: int = 0
    foretold: float = 0.0
    """The sum of their chances."""
    right: int = 0
    wrong: int = 0


@dataclass(slots=True)
class Insight:
    lookups: int = 0
    exact: int = 0
    semantic: int = 0
    misses: Counter[str] = field(default_factory=Counter)
    saved_nano_usd: int = 0
    saved_s: float = 0.0
    calibration: tuple[Calibration, ...] = field(default_factory=lambda: tuple(Calibration() for _ in FROM))

    def group(self, chance: float) -> Calibration:
        """The hits that were about as sure."""
        return self.calibration[bisect_right(FROM, chance) - 1]


@dataclass(slots=True)
class Insights:
    since: float
    _of: OrderedDict[tuple[str, str], Insight] = field(default_factory=OrderedDict)
    _served: OrderedDict[str, tuple[str, float]] = field(default_factory=OrderedDict)
    """The template and the chance of an entry's last semantic hit."""

    def of(self, tenant: str, template: str) -> Insight:
        """Kept for the [MOST_KEPT][] pairs of tenant and template that asked last."""
        if (found := self._of.get((tenant, template))) is None:
            found = self._of[tenant, template] = Insight()
        self._of.move_to_end((tenant, template))
        if len(self._of) > MOST_KEPT:
            self._of.popitem(last=False)
        return found

    def forget(self, tenant: str) -> None:
        for one in [one for one in self._of if one[0] == tenant]:
            del self._of[one]

    def missed(self, tenant: str, template: str, why: str) -> None:
        found = self.of(tenant, template)
        found.lookups += 1
        found.misses[why] += 1

    def hit(self, tenant: str, template: str, entry_id: str, chance: float | None, cost: int, took_s: float) -> None:
        """Counts a hit; `chance` is how sure a semantic one was, None for the same request."""
        found = self.of(tenant, template)
        found.lookups += 1
        found.saved_nano_usd, found.saved_s = found.saved_nano_usd + cost, found.saved_s + took_s
        if chance is None:
            found.exact += 1
            return
        found.semantic += 1
        group = found.group(chance)
        group.hits, group.foretold = group.hits + 1, group.foretold + chance
        self._served[entry_id] = (template, chance)
        if len(self._served) > MOST_KEPT:
            self._served.popitem(last=False)

    def reported(self, tenant: str, entry_id: str, right: bool) -> None:
        """Notes how a hit turned out; reports on what is forgotten count nowhere."""
        if (known := self._served.pop(entry_id, None)) is None:
            return
        group = self.of(tenant, known[0]).group(known[1])
        group.right, group.wrong = group.right + right, group.wrong + (not right)

    def listed(self, tenant: str) -> list[tuple[str, Insight]]:
        """A tenant's, those with the most look-ups first."""
        found = [(template, one) for (owner, template), one in self._of.items() if owner == tenant]
        return sorted(found, key=lambda one: -one[1].lookups)
