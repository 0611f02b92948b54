"""Which budget refuses a request, in words that its owner can act on."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.ledger.books import Budget, BudgetExceeded
from services.ledger.holds import Part
from services.ledger.store import MeterKey
from services.ledger.windows import ends


def lacking(parts: Iterable[Part], left: Mapping[MeterKey, int]) -> Part | None:
    """The first whose budget has too little left. One that is not in `left` was removed meanwhile: the next try will not meet it."""
    return next((part for part in parts if left.get(part.meter, part.amount) < part.amount), None)


def exceeded(part: Part, budget: Budget, available: int, at: datetime) -> BudgetExceeded:
    over = ends(budget.window, at, budget.time_zone)
    return BudgetExceeded(
        budget=budget.name,
        account=budget.account,
        available=max(available, 0),
        unit=part.unit.value,
        amount=part.amount,
        limit=budget.limit,
        rate_limit=str(budget.comes_back and part.amount <= budget.limit).lower(),
        resets=over.isoformat() if over else "never",
        quota=f"{budget.account}:{budget.name}",
        retry_after_s=(over - at).total_seconds() if over else None,
    )
