"""How a deployment fares: a circuit breaker and a moving view of latency and errors. Pure but for its clock."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

OPENS_AFTER = 5
"""Failures in a row."""
COOL_S, LONGEST_COOL_S = 2.0, 60.0
PROBED_S = 1.0
"""That those wait who come while one call looks whether a deployment is back."""
WEIGHT = 0.1
"""Of the newest observation in the moving averages."""
REMEMBERED, ENOUGH = 128, 20
"""Times to the first piece that are kept, and how many make a quantile."""


@dataclass(slots=True)
class Health:
    now: Callable[[], float] = time.monotonic
    error_rate: float = 0.0
    latency_s: float = 0.0
    """Usual time to the first piece, lately; 0 until known."""
    _failures: int = 0
    _cool_s: float = COOL_S
    _closed_until: float = 0.0
    _busy_until: float = 0.0
    _probing: bool = False
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def available(self) -> bool:
        """Whether a call may be tried: the breaker is closed, or it is time for one probe."""
        return self._failures < OPENS_AFTER or (not self._probing and self.now() >= self._closed_until)

    @property
    def busy_for_s(self) -> float:
        """How long the provider has asked to be left alone, or a moment while the first call after that looks whether it is over; 0 when it
        has not."""
        if self._probing and self._busy_until and self._busy_until == self._closed_until:
            return PROBED_S
        return max(self._busy_until - self.now(), 0.0)

    @property
    def slow_s(self) -> float | None:
        """What 95 in 100 of the last calls were faster than; None while there are too few."""
        if len(self._times) < ENOUGH:
            return None
        return sorted(self._times)[int(0.95 * len(self._times))]

    def begin(self) -> float:
        """Notes a call; returns when it began."""
        self._probing = self._failures >= OPENS_AFTER
        return self.now()

    def answered(self, began: float) -> None:
        """The first piece is there: the deployment works."""
        took = self.now() - began
        self._times.append(took)
        self.latency_s = took if not self.latency_s else self.latency_s + WEIGHT * (took - self.latency_s)
        self.error_rate -= WEIGHT * self.error_rate
        opened = self._failures >= OPENS_AFTER
        self._failures, self._cool_s, self._probing, self._busy_until = 0, COOL_S, False, 0.0
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
        self._probing = False

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()
