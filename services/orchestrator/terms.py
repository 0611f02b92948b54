"""How much a project may be granted while the ledger is away."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The most that an allowance may be. The ledger sets aside an eighth of what a budget has left, where that is less."""

    usd: float = 1.0
    tokens: int = 1_000_000
    requests: int = 1_000
    concurrent: int = 8
    lasting_s: float = 3600.0
