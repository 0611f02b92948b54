"""Which budget refuses a request, in words that its owner can act on."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.ledger.books import BudgetExceeded
from services.ledger.bounds import Bound
from services.ledger.holds import Part
from services.ledger.store import MeterKey
from services.ledger.windows import ends


def exceeded(
    parts: Iterable[Part], bounds: Mapping[MeterKey, Bound], left: Mapping[MeterKey, int], at: datetime
) -> BudgetExceeded | None:
    """The first budget with too little left. One that is not in `left` was removed meanwhile: the next try will not meet it."""
    for part in parts:
        if (available := left.get(part.meter)) is not None and available < part.amount:
            budget = bounds[part.meter].budget
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
    return None
