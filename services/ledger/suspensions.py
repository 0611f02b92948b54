"""Accounts that are stopped: nobody spends under them until they are resumed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from services.ledger.books import ancestors
from services.runtime.errors import Failure, Kind


class OwnAccount(Failure):
    kind, reason = Kind.PRECONDITION, "OWN_ACCOUNT"
    text = "{account} is the asker's own, or above it: nobody could resume it"
    field = "account"


class NotSuspended(Failure):
    kind, reason = Kind.NOT_FOUND, "NOT_SUSPENDED"
    text = "{account} is not suspended"


@dataclass(frozen=True, slots=True)
class Suspension:
    account: str
    reason: str
    since: datetime
    key_id: str = ""


def stopped(account: str, suspended: Iterable[str]) -> str:
    """The suspended account that `account` is or is below; '' where there is none."""
    return next((path for path in ancestors(account) if path in suspended), "") if suspended else ""
