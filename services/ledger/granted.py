"""A hold as it was granted, and as it lives on."""

from dataclasses import dataclass

from msgspec import Struct

from services.ledger.holds import Hold
from services.ledger.standings import Limit


class Granted(Struct, frozen=True):
    """A hold, the budgets that are nearly used up, and the limits that its maker paces itself by."""

    hold: Hold
    warnings: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()


@dataclass(slots=True)
class Live:
    """A hold under way."""

    granted: Granted
    asked: tuple[object, ...]
    sealed: bytes = b""
    """As it was given away."""
