"""Budgets by account, and the meters of their windows that are now."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from services.ledger.books import Budget, Unit, ancestors
from services.ledger.store import MeterKey
from services.ledger.windows import BEGINNING, FOREVER, began, ends
from services.runtime.remembered import Remembered

MOST_ACCOUNTS = 10_000


@dataclass(slots=True)
class Bound:
    """A budget, and its meter of the window that is now."""

    budget: Budget
    key: MeterKey | None = None
    until: datetime = BEGINNING
    told: bool = field(init=False)
    """Whether callers hear how much of it is left."""

    def __post_init__(self) -> None:
        self.told = self.budget.paces or self.budget.warn_at > 0

    def meter(self, at: datetime) -> MeterKey:
        """Windows change seldom, and telling them takes a calendar."""
        if self.key is None or not self.key.started <= at < self.until:
            budget = self.budget
            self.key = MeterKey(budget.account, budget.name, began(budget.window, at, budget.time_zone))
            self.until = ends(budget.window, at, budget.time_zone) or FOREVER
        return self.key


@dataclass(slots=True)
class Bounds:
    _budgets: dict[str, list[Bound]] = field(default_factory=dict)
    concurrent: list[Bound] = field(default_factory=list)
    """Those that count what is under way."""
    _above: Remembered[str, list[Bound]] = field(default_factory=lambda: Remembered(MOST_ACCOUNTS))

    def load(self, budgets: Iterable[Budget]) -> None:
        fresh: dict[str, list[Bound]] = {}
        for budget in budgets:
            fresh.setdefault(budget.account, []).append(Bound(budget))
        self._budgets = fresh
        self._above.clear()
        self.concurrent = [one for one in self if one.budget.unit is Unit.CONCURRENT]

    def of(self, account: str, name: str) -> Bound | None:
        """The budget of that name."""
        return next((one for one in self._budgets.get(account, ()) if one.budget.name == name), None)

    def over(self, meter: MeterKey, at: datetime) -> bool:
        """Whether a meter is not of the window that is now, or its budget is no more."""
        bound = self.of(meter.account, meter.name)
        return bound is None or bound.meter(at) != meter

    def above(self, account: str) -> list[Bound]:
        """Of an account and all above it."""
        if (known := self._above.get(account)) is not None:
            return known
        return self._above.keep(account, [one for path in ancestors(account) for one in self._budgets.get(path, ())])

    def counts_money(self, account: str) -> bool:
        """Whether a budget at or above `account` is in money."""
        return any(one.budget.unit is Unit.NANO_USD for one in self.above(account))

    def __iter__(self) -> Iterator[Bound]:
        return chain.from_iterable(self._budgets.values())
