"""Loops and spikes of a key, told from its last minutes: pure, but for what it remembers of them.

What a replica has seen is what it judges by: of several, each sees its share.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.ledger.books import ancestors
from services.runtime.errors import Failure, Kind

REMEMBERED = 128
"""Prompts of a key."""
MOST_KEYS = 20_000
MINUTE_S = 60.0
HALF_LIFE = 60
"""Active minutes in which what was usual counts half."""
LEARNT = 10
"""Active minutes without which nobody knows what is usual."""
THROTTLED_S = 10.0


class Throttled(Failure):
    kind, reason = Kind.EXHAUSTED, "THROTTLED"
    text = "key {key_id} is slowed down: {what}"


class SafeguardUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "SAFEGUARD_UNKNOWN"
    text = "{account} has no safeguard"


class Action(StrEnum):
    FLAG = "flag"
    THROTTLE = "throttle"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Loop:
    likeness: float = 0.97
    most: int = 30
    within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Spike:
    times: float = 10.0
    least: int = 1_000_000_000
    """Nano-dollars in a minute."""


@dataclass(frozen=True, slots=True)
class Safeguard:
    account: str
    loop: Loop | None = None
    spike: Spike | None = None
    action: Action = Action.FLAG


@dataclass(frozen=True, slots=True)
class Seen:
    kind: str
    text: str


@dataclass(slots=True)
class _Key:
    """The last minutes of one key."""

    prompts: deque[tuple[float, NDArray[np.float32]]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    minute: int = -1
    spent: int = 0
    before: int = 0
    """In this minute of the clock, and in the one before it."""
    usual: float = 0.0
    active: int = 0
    passed: float = -math.inf
    """When it was last let through while it was slowed down."""


@dataclass(slots=True)
class Watch:
    _keys: OrderedDict[str, _Key] = field(default_factory=OrderedDict)

    def asks(self, key_id: str, guard: Safeguard, likeness: bytes, cost: int, now: float) -> list[Seen]:
        """What is seen of a key as it asks for what may cost `cost` nano-dollars, at `now` in seconds."""
        key = self._key(key_id)
        seen = []
        if guard.loop is not None and (alike := _alike(key, guard.loop, likeness, now)) > guard.loop.most:
            seen.append(Seen("loop", f"{alike} prompts of {key_id} in {guard.loop.within_s:g} s are nearly alike"))
        if guard.spike is not None and (times := _times(key, guard.spike, cost, now)):
            seen.append(Seen("spike", f"{key_id} spends {times:.0f} times what it uses to"))
        return seen

    def let_through(self, key_id: str, now: float) -> float:
        """Seconds that a key which is slowed down must wait; 0 when it may go."""
        key = self._key(key_id)
        wait = key.passed + THROTTLED_S - now
        if wait <= 0:
            key.passed = now
        return max(wait, 0.0)

    def _key(self, key_id: str) -> _Key:
        if (key := self._keys.get(key_id)) is None:
            key = self._keys[key_id] = _Key()
        self._keys.move_to_end(key_id)
        while len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return key


def nearest(guards: Mapping[str, Safeguard], account: str) -> Safeguard | None:
    """That of the account, or of the nearest above it."""
    if not guards:
        return None
    return next((guards[path] for path in ancestors(account) if path in guards), None)


def _alike(key: _Key, rule: Loop, likeness: bytes, now: float) -> int:
    """How many prompts are nearly like this one, itself among them."""
    vector = np.frombuffer(likeness, np.float32)
    if not len(vector) or not (length := float(np.linalg.norm(vector))):
        return 0
    vector = vector / length
    recent = [one for at, one in key.prompts if now - at <= rule.within_s and len(one) == len(vector)]
    key.prompts.append((now, vector))
    return 1 + (int((np.stack(recent) @ vector >= rule.likeness).sum()) if recent else 0)


def _times(key: _Key, rule: Spike, cost: int, now: float) -> float:
    """The last minute's spending over the usual one's, where that is a spike; else 0. A minute that is over is learnt from."""
    minute = int(now // MINUTE_S)
    if minute != key.minute:
        if key.spent:
            key.active += 1
            weight = max(1 - 0.5 ** (1 / HALF_LIFE), 1 / key.active)
            key.usual += weight * (key.spent - key.usual)
        key.before = key.spent if minute == key.minute + 1 else 0
        key.minute, key.spent = minute, 0
    key.spent += cost
    part = (now % MINUTE_S) / MINUTE_S
    last = key.spent + key.before * (1 - part)
    if key.active < LEARNT or last < rule.least or last <= rule.times * key.usual:
        return 0.0
    return last / max(key.usual, 1.0)
