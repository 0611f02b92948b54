"""The places where one model answers, each with each of its keys: which is asked, and how it fares."""

import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.models import faults
from services.models.allowance import Allowance
from services.models.catalogue import Deployment, Entry
from services.models.health import PROBED_S, Health
from services.models.limits import Limit, Priority
from services.runtime.errors import Failure

DENIED_S = 5.0
"""A key that was refused is left alone for so long; a rotated one is in use soon after."""
FOR_LOAD = (faults.ProviderBusy, faults.ProviderSlow)


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose call it is, how much it matters, and how long its caller still waits."""

    tenant: str = ""
    priority: Priority = Priority.NORMAL
    tokens: int = 0
    """Its input, roughly."""
    until: float | None = None
    """On the monotonic clock."""

    def has_time_for(self, seconds: float) -> bool:
        return self.until is None or self.until - time.monotonic() >= seconds


@dataclass(slots=True)
class Endpoint:
    """One deployment under one key."""

    name: str
    """The model's name in the mesh."""
    place: Deployment
    key: str = field(repr=False)
    limit: Limit
    health: Health = field(default_factory=Health)
    allowance: Allowance = field(default_factory=Allowance)
    denied_until: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether calls can go there at all now, however many are under way."""
        now = self.health.now()
        return self.health.available and now >= self.denied_until and not self.allowance.wait_s(1, now)

    def refusal(self, asker: Asker) -> Failure | None:
        """Why a call cannot go there now; None when it can."""
        if self.health.now() < self.denied_until:
            return faults.ProviderDenied(model=self.name, status="just now")
        if not self.health.available:
            if wait := self.health.busy_for_s:
                return faults.ProviderBusy(model=self.name, status="as it said", retry_after_s=wait)
            return faults.ProviderAway(model=self.name, why="it failed too often lately", retry_after_s=PROBED_S)
        if wait := self.allowance.wait_s(asker.tokens, self.health.now()):
            return faults.ProviderBusy(model=self.name, status="its rate limit is used up", retry_after_s=wait)
        if not self.limit.admits(asker.tenant, asker.priority):
            return faults.Overloaded(model=self.name, limit=int(self.limit.now), retry_after_s=1.0)
        return None

    @contextmanager
    def call(self, asker: Asker) -> Iterator["Call"]:
        """Holds a place for one call, and learns from how it ends."""
        one = Call(self, self.limit.begin(asker.tenant), self.health.begin())
        self.allowance.begin(asker.tokens)
        try:
            yield one
        except Failure as failure:
            one.failed(failure)
            raise
        finally:
            self.health.end()
            self.limit.end(asker.tenant)


@dataclass(slots=True)
class Call:
    """One call under way."""

    endpoint: Endpoint
    number: int
    began: float
    answered_yet: bool = False

    def answered(self) -> None:
        """The first piece is there."""
        if not self.answered_yet:
            self.answered_yet = True
            self.endpoint.health.answered(self.began)
            self.endpoint.limit.succeeded()

    def failed(self, failure: Failure) -> None:
        health = self.endpoint.health
        if isinstance(failure, faults.ProviderDenied):
            self.endpoint.denied_until = health.now() + DENIED_S
        elif isinstance(failure, faults.AT_FAULT):
            health.failed(failure.retry_after_s)
        if isinstance(failure, FOR_LOAD):
            self.endpoint.limit.overloaded(self.number)


@dataclass(slots=True)
class Pool:
    """All endpoints of one model."""

    name: str
    entry: Entry
    endpoints: list[Endpoint]

    @classmethod
    def of(cls, name: str, entry: Entry) -> "Pool":
        return cls(
            name,
            entry,
            [Endpoint(name, place, key, Limit(place.concurrency)) for place in entry.places for key in place.keys],
        )

    @property
    def available(self) -> bool:
        return any(one.usable for one in self.endpoints)

    @property
    def error_rate(self) -> float:
        """Of the best endpoint: calls go there."""
        return min(one.health.error_rate for one in self.endpoints)

    @property
    def latency_s(self) -> float:
        known = [one.health.latency_s for one in self.endpoints if one.health.latency_s]
        return min(known, default=0.0)

    @property
    def saturation(self) -> float:
        return min(one.limit.saturation for one in self.endpoints)

    def pick(self, asker: Asker, without: Collection[int] = ()) -> Endpoint:
        """The less busy and less troubled of two at random (Mitzenmacher 2001), of those that a call can go to now.

        `without` holds `id`s of endpoints that have failed this request.

        Raises:
            Failure: no call can go anywhere; the refusal that is over first.
        """
        why: Failure | None = None
        free = list[Endpoint]()
        for one in self.endpoints:
            if id(one) in without:
                continue
            if (refusal := one.refusal(asker)) is None:
                free.append(one)
            elif why is None or (refusal.retry_after_s or 0) < (why.retry_after_s or 0):
                why = refusal
        if free:
            two = free if len(free) <= 2 else random.sample(free, 2)
            return min(two, key=lambda one: (one.limit.saturation + one.health.error_rate, random.random()))
        raise why or faults.ProviderAway(model=self.name, why="no other deployment is left", retry_after_s=1.0)
