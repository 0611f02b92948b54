"""What was found and done lately, counted by the hour: for people who look. Fleets over time are what metrics tell."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.guard.rules import Action

KEPT_HOURS = 168
MOST_SEEN = 20_000
"""Of an hour; past that what is new is left out."""
HOUR_S = 3600


class Seen(NamedTuple):
    tenant: str
    type: str
    """Of a finding; empty for a whole prompt."""
    action: Action
    would_be: Action
    """Without a dry run."""


@dataclass(slots=True)
class Tallies:
    now: Callable[[], float] = time.time
    began: float = field(init=False)
    _hours: OrderedDict[int, dict[Seen, int]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.began = self.now()

    def add(self, one: Seen) -> None:
        hour = int(self.now()) // HOUR_S
        counts = self._hours.setdefault(hour, {})
        if one in counts or len(counts) < MOST_SEEN:
            counts[one] = counts.get(one, 0) + 1
        while len(self._hours) > KEPT_HOURS or next(iter(self._hours)) <= hour - KEPT_HOURS:
            self._hours.popitem(last=False)

    def since(self, hours: int, tenant: str) -> Iterator[tuple[int, Seen, int]]:
        """When each hour began, in seconds since the epoch; of all tenants for ''."""
        first = int(self.now()) // HOUR_S - hours + 1
        for hour, counts in self._hours.items():
            if hour >= first:
                yield from ((hour * HOUR_S, one, n) for one, n in counts.items() if tenant in ("", one.tenant))
