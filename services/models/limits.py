"""How many calls a deployment bears, and whose go first when it is nearly full. Pure.

The limit adapts: calls that fail for load shrink it, calls that succeed while it is nearly used up let it grow
(additive increase, multiplicative decrease: Chiu and Jain 1989). Latency is no signal here: a long answer is no sign
of load. Near the limit a tenant may hold no more than its share, so that one whose calls hang cannot lock out others.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

SHRINKS_TO = 0.7
LEAST = 1.0
NEARLY = 0.8
"""Share of the limit in use from which a success shows that more would fit."""


class Priority(Enum):
    """Up to which share of the limit calls are let in."""

    LOW = 0.6
    NORMAL = 0.9
    HIGH = 1.0


@dataclass(slots=True)
class Limit:
    most: int
    """What the settings allow."""
    now: float = 0.0
    """What it bears at the moment, 1 to `most`."""
    held: Counter[str] = field(default_factory=Counter)
    """Calls under way, by tenant."""
    under_way: int = 0
    _shrunk_at: int = -1
    _begun: int = 0

    def __post_init__(self) -> None:
        self.now = float(self.most)

    @property
    def saturation(self) -> float:
        return min(self.under_way / max(self.now, LEAST), 1.0)

    def admits(self, tenant: str, priority: Priority) -> bool:
        """Whether a call of `tenant` may begin.

        A tenant below its fair share, with a place kept for the next who comes, is let in up to the limit itself;
        one above it only while the deployment is less full.
        """
        bears = int(self.now)
        if self.under_way >= bears:
            return False
        others = len(self.held) - (tenant in self.held)
        fair = bears / (others + 2)
        share = priority.value
        if priority is Priority.NORMAL and self.held[tenant] < fair:
            share = 1.0
        return self.under_way < max(share * bears, LEAST)

    def begin(self, tenant: str) -> int:
        """Notes a call; returns its number, for `overloaded`."""
        self.under_way += 1
        self.held[tenant] += 1
        self._begun += 1
        return self._begun

    def end(self, tenant: str) -> None:
        self.under_way -= 1
        self.held[tenant] -= 1
        if not self.held[tenant]:
            del self.held[tenant]

    def succeeded(self) -> None:
        if self.under_way >= NEARLY * self.now:
            self.now = min(self.now + 1 / self.now, float(self.most))

    def overloaded(self, number: int) -> None:
        """Call `number` failed for load. Calls that had begun before the last shrinking say nothing new."""
        if number <= self._shrunk_at:
            return
        self._shrunk_at = self._begun
        self.now = max(min(self.now, float(self.under_way)) * SHRINKS_TO, LEAST)
