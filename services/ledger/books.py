"""The rules of budgets: what may be held, what a settlement changes, how much to lease.

Pure. No clock, no I/O, no protobuf. Amounts are whole numbers in a budget's own unit: nano-dollars, tokens
or requests.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

from services.ledger.windows import Window
from services.runtime.errors import Failure, Kind

LEASE_SHARE = 8
"""A lease takes at most one part in so many of what is left: a full budget is served from memory."""
NEAR_END = 8
"""A share for fewer requests than so many is not taken: near its end a budget's grants go one by one, since what one replica has to
spare the others refuse for."""


class BudgetExceeded(Failure):
    kind, reason = Kind.EXHAUSTED, "BUDGET_EXCEEDED"
    text = "budget {budget} of {account} has {available} {unit} left; this request may take {amount}"


class WindowUnfit(Failure):
    kind, reason = Kind.INVALID, "WINDOW_UNFIT"
    text = "requests under way are counted at any time: their budget's window is the total"
    field = "budget.window"


class CostAboveCeiling(Failure):
    kind, reason = Kind.EXHAUSTED, "COST_ABOVE_CEILING"
    text = "the request may cost {amount_nano_usd} nano-dollars; its own ceiling is {ceiling_nano_usd}"


class ReservationIdReused(Failure):
    kind, reason = Kind.REUSED, "RESERVATION_ID_REUSED"
    text = "reservation {reservation_id} was made for another request"
    field = "reservation_id"


class ReservationUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "RESERVATION_UNKNOWN"
    text = "there is no reservation {reservation_id}, or its hold was altered"


class AlreadySettled(Failure):
    kind, reason = Kind.PRECONDITION, "ALREADY_SETTLED"
    text = "reservation {reservation_id} was {outcome} at {cost_nano_usd} nano-dollars"


class Unit(StrEnum):
    NANO_USD = "nano_usd"
    TOKENS = "tokens"
    REQUESTS = "requests"
    CONCURRENT = "concurrent"
    """Requests under way: what one takes of it comes back when it ends."""


PACED = frozenset((Unit.REQUESTS, Unit.TOKENS))
PACES = frozenset((Window.MINUTE, Window.DAY, Window.ROLLING_HOUR, Window.ROLLING_DAY))


@dataclass(frozen=True, slots=True)
class Budget:
    account: str
    name: str
    unit: Unit
    limit: int
    window: Window = Window.TOTAL
    time_zone: str = ""
    model: str = ""
    warn_at: float = 0.0

    @property
    def paces(self) -> bool:
        """Whether it is a rate limit."""
        return self.unit in PACED and self.window in PACES

    @property
    def comes_back(self) -> bool:
        """Whether what it has given is there again by itself within a day."""
        return self.paces or self.unit is Unit.CONCURRENT

    def covers(self, model: str) -> bool:
        return covers(self.model, model)


class Need(Struct, frozen=True):
    """What one attempt may take of each unit, and what it took in the end."""

    model: str
    nano_usd: int
    tokens: int
    requests: int = 1

    def of(self, unit: Unit) -> int:
        match unit:
            case Unit.NANO_USD:
                return self.nano_usd
            case Unit.TOKENS:
                return self.tokens
        return self.requests

    def used(self, unit: Unit) -> int:
        """What stays spent of a unit."""
        return 0 if unit is Unit.CONCURRENT else self.of(unit)


class Meter(Struct, frozen=True):
    """A replica's own part of one budget in one window: what it may grant without asking."""

    granted: int = 0
    """Leased to this replica and not yet spent; durable before it stands here."""
    held: int = 0
    """Promised to requests under way."""

    @property
    def free(self) -> int:
        return self.granted - self.held

    def lease(self, amount: int) -> "Meter":
        return Meter(self.granted + amount, self.held)

    def hold(self, amount: int) -> "Meter":
        assert amount <= self.free, "ask for a lease first"
        return Meter(self.granted, self.held + amount)

    def settle(self, hold: int, cost: int, *, keeps: bool = True) -> tuple["Meter", int]:
        """Ends a hold; also returns how much of the lease goes with it: what is spent, and, where the meter does not keep it, what is
        left of the hold.

        A cost above the hold eats what is free, and what even that does not cover is an overrun of the
        budget itself, for the next lease to see.
        """
        spent = min(cost, hold + max(self.free, 0))
        gone = spent if keeps else max(spent, hold)
        return Meter(self.granted - gone, self.held - hold), gone


def covers(pattern: str, model: str) -> bool:
    """Whether a budget for `pattern` counts `model`: all, one by its name, or a class by `*`."""
    return not pattern or pattern == model or ("*" in pattern and _matcher(pattern)(model) is not None)


@lru_cache(maxsize=4096)
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL).fullmatch


@lru_cache(maxsize=4096)
def ancestors(account: str) -> tuple[str, ...]:
    """The account and all above it, nearest first: `a/b` gives `a/b`, `a`."""
    parts = account.split("/")
    return tuple("/".join(parts[:n]) for n in range(len(parts), 0, -1))


def worst(budget: Budget, needs: list[Need]) -> int:
    """The most that any attempt takes of `budget`."""
    most = 0
    for need in needs:
        if budget.covers(need.model):
            most = max(most, need.of(budget.unit))
    return most


def carved(most: int, has: int, remaining: int) -> int:
    """How much an allowance that has `has` already may have, at most `most`, when the store has `remaining` beside it."""
    return max(has, min(most, (remaining + has) // LEASE_SHARE))


def wanted(shortfall: int, remaining: int, recalled: bool = False) -> int:
    """How much to lease when `shortfall` is needed and the store has `remaining`, of a budget that may be called back; 0 when that is
    too little."""
    if remaining < shortfall:
        return 0
    share = remaining // LEASE_SHARE
    return share if share >= NEAR_END * shortfall and not recalled else shortfall
