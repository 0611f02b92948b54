"""Parts of budgets that are set aside for whoever grants while the ledger is away."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from msgspec.structs import replace

from services.ledger.books import LEASE_SHARE, Unit
from services.ledger.holds import Attempt, Hold, Part
from services.ledger.replica import Replica
from services.ledger.store import LedgerAway


async def carve(
    replica: Replica,
    allowance: UUID,
    account: str,
    most: Mapping[Unit, int],
    lasting: timedelta,
    attempts: tuple[Attempt, ...],
) -> tuple[Hold, dict[Unit, int]]:
    """Sets aside at most `most` of every budget above `account`, for whoever holds `allowance`: for `lasting` to grant from, and as
    long again to settle. Also returns how much of each unit may be granted.

    Raises:
        BudgetExceeded: a budget has too little left.
        LedgerAway
    """
    at = replica.now()
    bounds = {one.meter(at): one for one in replica.bounds.above(account)}
    wants = {key: most[one.budget.unit] for key, one in bounds.items() if most[one.budget.unit]}
    given = await replica.store.carve(allowance, wants, at + 2 * lasting) if wants else {}
    parts = [Part(key, bounds[key].budget.unit, bounds[key].budget.model, 0) for key in wants]
    if wants and not given:
        lacks = await replica.leases.lacking([replace(one, amount=LEASE_SHARE) for one in parts], bounds, at)
        raise lacks[1] if lacks else LedgerAway
    least = dict(most)
    for key, amount in given.items():
        unit = bounds[key].budget.unit
        least[unit] = min(least[unit], amount)
    expires = (at + lasting).timestamp()
    hold = Hold(
        allowance, allowance, "", account, least[Unit.NANO_USD], expires, tuple(parts), attempts, allowance=True
    )
    return hold, least
