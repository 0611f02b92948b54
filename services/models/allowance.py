"""What a provider's rate-limit headers say is left, heeded before it has to refuse. Pure.

OpenAI and those like it: `x-ratelimit-remaining-requests`, `-tokens` with `x-ratelimit-reset-*` ("6m0s", "120ms").
Anthropic: `anthropic-ratelimit-requests-remaining` with `-reset` as a time of day.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

SPANS = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_S = 60.0
"""No header is believed for longer: the next answer says more."""
NAMES = {
    "requests": (("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
                 ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset")),
    "tokens": (("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
               ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
               ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset")),
}  # fmt: skip


@dataclass(slots=True)
class _Left:
    amount: float
    resets: float


@dataclass(slots=True)
class Allowance:
    """What one key may still ask for at one deployment."""

    _left: dict[str, _Left] = field(default_factory=dict)

    def heard(self, headers: Mapping[str, str], now: float, wall: float) -> None:
        """Notes an answer's headers. `now` is a monotonic clock, `wall` seconds since the epoch."""
        for what, names in NAMES.items():
            for remaining, reset in names:
                if (said := headers.get(remaining)) is None:
                    continue
                try:
                    span = _span(headers.get(reset, ""), wall)
                    self._left[what] = _Left(float(said), now + min(span, LONGEST_S))
                except ValueError:
                    continue  # not the form that we know: the provider's 429 will tell
                break

    def begin(self, tokens: int) -> None:
        """Counts a call that has been sent and whose answer is not here yet."""
        for what, amount in (("requests", 1), ("tokens", tokens)):
            if what in self._left:
                self._left[what].amount -= amount

    def wait_s(self, tokens: int, now: float) -> float:
        """Seconds until a call of `tokens` input tokens fits; 0 when it does now."""
        wait = 0.0
        for what, amount in (("requests", 1), ("tokens", tokens)):
            left = self._left.get(what)
            if left is None:
                continue
            if now >= left.resets:
                del self._left[what]
            elif left.amount < amount:
                wait = max(wait, left.resets - now)
        return wait


def _span(text: str, wall: float) -> float:
    """Seconds of "1m30s", "120ms", plain seconds, or until an RFC 3339 time."""
    if not text:
        return 1.0
    if "T" in text:
        return max(datetime.fromisoformat(text).timestamp() - wall, 0.0)
    found = SPANS.findall(text)
    return sum(float(number) * SECONDS[unit] for number, unit in found) if found else float(text)
