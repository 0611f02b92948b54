"""What is done after the last byte: settling, storing. Bounded, tried again, and finished before the process ends."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import grpc

from services.orchestrator.failures import BooksBehind
from services.runtime import channels, identity

log = logging.getLogger(__name__)

MOST = 10_000
TRIES_S = 150.0
"""How long a settlement is tried: a little less than the hold it ends lives."""
LONGEST_WAIT_S = 5.0
AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED})

Work = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Desk:
    key: str = field(default="", repr=False)
    """The orchestrator's own API key: what is still open when the caller's token has ended is done under it."""
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def room(self) -> None:
        """
        Raises:
            BooksBehind: so much waits that no new request should begin.
        """
        if len(self._under_way) >= MOST:
            raise BooksBehind(retry_after_s=1.0)

    def later(self, work: Work, tries_s: float = TRIES_S) -> None:
        """Does `work` beside the request, until it is done or cannot be, or was tried for so long."""
        task = asyncio.create_task(self._done(work, tries_s))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def cleared(self, within_s: float = TRIES_S) -> None:
        """Waits for everything under way, and for what that leaves to be done."""
        until = asyncio.get_running_loop().time() + within_s
        while self._under_way and (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._under_way, timeout=left)

    async def _done(self, work: Work, tries_s: float) -> None:
        channels.DEADLINE.set(None)  # the request's own time does not count here
        try:
            await self.insisted(work, tries_s)
        except grpc.aio.AioRpcError as error:
            log.error("given up after the answer: %s %s", error.code().name, error.details())

    async def insisted(self, work: Work, tries_s: float = TRIES_S) -> object:
        """Tries `work` again while its service is away."""
        loop = asyncio.get_running_loop()
        until, wait = loop.time() + tries_s, 0.1
        while True:
            try:
                return await work()
            except grpc.aio.AioRpcError as error:
                late = error.code() is grpc.StatusCode.UNAUTHENTICATED and self._as_ourselves()
                if not late and (error.code() not in AWAY or loop.time() + wait > until):
                    raise
            await asyncio.sleep(wait * (0.5 + random.random()))
            wait = min(wait * 2, LONGEST_WAIT_S)

    def _as_ourselves(self) -> bool:
        """Goes on under our own key; False when there is none or it is used already."""
        caller = identity.current()
        if not self.key or caller is None or caller.token == self.key:
            return False
        identity.hold(replace(caller, token=self.key))
        return True
