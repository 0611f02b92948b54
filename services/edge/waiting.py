"""A request waits a moment for a service that is being started again, and is told when it does not come back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc

from services.edge.door import RESTARTS_WITHIN_S, Door
from services.edge.exchange import Exchange
from services.runtime import channels
from services.runtime.errors import Failure, Kind

Handler = Callable[[Exchange, Door], Awaitable[None]]


class JobsAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "JOBS_AWAY"
    text = "the jobs service does not answer; try again soon"


class RegistryAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "REGISTRY_AWAY"
    text = "the registry does not answer; try again soon"


class CacheAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "CACHE_AWAY"
    text = "the cache does not answer; try again soon"


class RouterAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "ROUTER_AWAY"
    text = "the router does not answer; try again soon"


class GuardAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "GUARD_AWAY"
    text = "the guard does not answer; try again soon"


class RetrievalAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "RETRIEVAL_AWAY"
    text = "retrieval does not answer; try again soon"


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind a channel."""

    channel: grpc.aio.Channel
    away: type[Failure]
    """What is said when it does not come back."""

    async def reach(self) -> None:
        """
        Raises:
            Failure: `away`.
        """
        if not await channels.reached(self.channel, RESTARTS_WITHIN_S):
            raise self.away

    def __call__(self, handler: Handler) -> Handler:
        """The handler, once it is reached."""

        async def reached(exchange: Exchange, door: Door) -> None:
            await self.reach()
            await handler(exchange, door)

        return reached
