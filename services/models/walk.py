"""Down the candidates, and to each one's deployments: who is asked next after a failure, if anybody."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.models import faults
from services.models.credit import Credit
from services.models.pools import Asker, Endpoint, Pool
from services.runtime import telemetry
from services.runtime.errors import Failure

MOST_TRIES = 3
"""Of one model."""
RETRY_AFTER_S = 0.05
"""Before the first retry of the same endpoint; twice as long each time, and up to half of it less at random."""


@dataclass(slots=True)
class Walk:
    """One request's way. `next` says who is asked; `failed` says how that ended."""

    pools: Sequence[Pool]
    asker: Asker
    retries: Credit
    tried: int = 0
    last: Failure | None = None
    _at: int = 0
    _here: int = 0
    _failed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Those whose breakers are open come last: they are asked only when all others have failed.
        self.pools = sorted(self.pools, key=lambda pool: not pool.available)
        self.retries.earn()

    async def next(self) -> tuple[Pool, Endpoint]:
        """The endpoint to ask.

        Raises:
            Failure: nobody is left; what the last one failed with.
        """
        while self._at < len(self.pools):
            pool = self.pools[self._at]
            if self._here == 0 or await self._again(pool):
                self._here += 1
                try:
                    found = pool.pick(self.asker, self._failed)
                    if self.last is not None and not self.asker.has_time_for(found.health.latency_s):
                        raise faults.TooLate(model=pool.name, seconds=round(found.health.latency_s, 1))
                    self.tried += 1
                    return pool, found
                except Failure as failure:
                    self._note(pool.name, failure)
            self._leave()
        assert self.last is not None
        raise self.last

    def failed(self, endpoint: Endpoint, failure: Failure, *, begun: bool = False) -> None:
        """Notes how a call ended.

        Raises:
            Failure: the same, when something has been answered already or no other candidate could do better.
        """
        self._note(endpoint.name, failure)
        if isinstance(failure, faults.Unsupported) and not begun:
            self._leave()  # another model may be able; this one's other deployments are not
            return
        if begun or not isinstance(failure, faults.WORTH_ANOTHER):
            raise failure
        self._failed.add(id(endpoint))

    def _leave(self) -> None:
        """Nothing more is asked of the present model."""
        self._at, self._here = self._at + 1, 0
        self._failed.clear()

    def stay(self, pool: Pool) -> None:
        """From now on only `pool` is asked."""
        self.pools, self._at = [pool], 0

    def _note(self, model: str, failure: Failure) -> None:
        telemetry.event("attempt failed", model=model, reason=failure.reason)
        if self.last is None or not isinstance(failure, faults.TooLate | faults.Unsupported):
            self.last = failure

    async def _again(self, pool: Pool) -> bool:
        """Whether the same model may be asked again: a fresh deployment at once, the same one after a pause."""
        if self._here >= MOST_TRIES:
            return False
        fresh = any(id(one) not in self._failed and one.refusal(self.asker) is None for one in pool.endpoints)
        passing = isinstance(self.last, faults.ProviderBroke | faults.ProviderAway)
        pause = RETRY_AFTER_S * 2 ** (self._here - 1)
        if not fresh and (not passing or self._here > 1 or not self.asker.has_time_for(pause + pool.latency_s)):
            return False
        if not self.retries.spend():
            return False
        if not fresh:
            self._failed.clear()
            await asyncio.sleep(pause * (0.5 + random.random() / 2))
        return True
