"""How each model fares: a circuit breaker, a limit on calls under way, a moving view of latency and errors."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

OPENS_AFTER = 5
"""Failures in a row."""
COOL_S, LONGEST_COOL_S = 2.0, 60.0
WEIGHT = 0.1
"""Of the newest observation in the moving averages."""


@dataclass(slots=True)
class Health:
    """One model's. Pure but for the clock it is given."""

    limit: int
    now: Callable[[], float] = time.monotonic
    under_way: int = 0
    error_rate: float = 0.0
    latency_s: float = 0.0
    """Usual time to the first piece, lately; 0 until known."""
    _failures: int = 0
    _cool_s: float = COOL_S
    _closed_until: float = 0.0
    _busy_until: float = 0.0
    _probing: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def available(self) -> bool:
        """Whether a call may be tried: the breaker is closed, or it is time for one probe."""
        return self._failures < OPENS_AFTER or (not self._probing and self.now() >= self._closed_until)

    @property
    def busy_for_s(self) -> float:
        """How long the provider has asked to be left alone; 0 when it has not."""
        return max(self._busy_until - self.now(), 0.0)

    @property
    def full(self) -> bool:
        return self.under_way >= self.limit

    def begin(self) -> float:
        """Notes a call; returns when it began."""
        self.under_way += 1
        self._probing = self._failures >= OPENS_AFTER
        return self.now()

    def answered(self, began: float) -> None:
        """The first piece is there: the model works."""
        took = self.now() - began
        self.latency_s = took if not self.latency_s else self.latency_s + WEIGHT * (took - self.latency_s)
        self.error_rate -= WEIGHT * self.error_rate
        opened = self._failures >= OPENS_AFTER
        self._failures, self._cool_s, self._probing = 0, COOL_S, False
        if opened:
            self._tell()

    def failed(self, retry_after_s: float | None = None) -> None:
        self.error_rate += WEIGHT * (1 - self.error_rate)
        self._failures += 1
        self._probing = False
        if retry_after_s:  # the provider has said when: no call before that can do any good
            self._failures = max(self._failures, OPENS_AFTER)
            self._closed_until = self.now() + min(retry_after_s, LONGEST_COOL_S)
            self._busy_until = self._closed_until
            self._tell()
        elif self._failures >= OPENS_AFTER:
            self._closed_until = self.now() + self._cool_s
            self._cool_s = min(self._cool_s * 2, LONGEST_COOL_S)
            self._tell()

    def end(self) -> None:
        self.under_way -= 1
        self._probing = False

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()
