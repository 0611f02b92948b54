"""Goes down the candidates until one answers: retries and fallback before the first piece, never after it."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Catalogue
from services.models.health import Health
from services.models.wires.adapter import Adapter, Target
from services.runtime import telemetry
from services.runtime.errors import Failure

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_AFTER_S = 0.05
RETRY_BUDGET = 0.2
"""Retries allowed a call, over time: a provider that fails for everybody is not asked twice as often."""


@dataclass(slots=True)
class Ranking:
    catalogue: Catalogue
    wires: Mapping[str, Adapter]
    health: dict[str, Health] = field(default_factory=dict)
    _credit: float = 10.0

    def __post_init__(self) -> None:
        self.health = {name: Health(entry.concurrency) for name, entry in self.catalogue.entries.items()}

    async def complete(self, names: Sequence[str], request: chat.ChatRequest) -> tuple[chat.ChatCompletion, str, int]:
        """The first answer down `names`, who gave it, how many were tried.

        Raises:
            Failure: what the last candidate failed with; at once when no other could do better.
        """
        tried, last = 0, None
        for target in self._targets(names):
            for again in (True, False):
                tried += 1
                try:
                    return await self._whole(target, request), target.name, tried
                except Failure as failure:
                    last = self._considered(target, failure)
                if not (again and await self._retry(last)):
                    break
        assert last is not None
        raise last

    async def stream(
        self, names: Sequence[str], request: chat.ChatRequest
    ) -> AsyncGenerator[tuple[chat.ChatChunk, str, int], None]:
        """Pieces of the first answer down `names`; see `complete`."""
        tried, last = 0, None
        for target in self._targets(names):
            for again in (True, False):
                tried += 1
                begun = False
                try:
                    async with aclosing(self._pieces(target, request)) as pieces:
                        async for piece in pieces:
                            begun = True
                            yield piece, target.name, tried
                    return
                except Failure as failure:
                    last = self._considered(target, failure)
                    if begun:
                        raise
                if not (again and await self._retry(last)):
                    break
        assert last is not None
        raise last

    async def _whole(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        health = self._admitted(target)
        began = health.begin()
        try:
            made = await self.wires[target.entry.wire].complete(target, request)
            health.answered(began)
            return made
        finally:
            health.end()

    async def _pieces(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        health = self._admitted(target)
        began, first = health.begin(), True
        try:
            async with aclosing(self.wires[target.entry.wire].stream(target, request)) as pieces:
                async for piece in pieces:
                    if first:
                        first = False
                        health.answered(began)
                    yield piece
        finally:
            health.end()

    def _targets(self, names: Sequence[str]) -> list[Target]:
        """In order, those whose breaker is open last: they are asked only when all others have failed."""
        targets = [Target(name, self.catalogue.entry(name)) for name in names]
        return sorted(targets, key=lambda target: not self.health[target.name].available)

    def _admitted(self, target: Target) -> Health:
        health = self.health[target.name]
        if health.full:
            raise faults.Overloaded(model=target.name, limit=health.limit, retry_after_s=1.0)
        if not health.available and (wait := health.busy_for_s):
            raise faults.ProviderBusy(model=target.name, status="as it said", retry_after_s=wait)
        if not health.available:
            raise faults.ProviderAway(model=target.name, why="it failed too often lately", retry_after_s=1.0)
        return health

    def _considered(self, target: Target, failure: Failure) -> Failure:
        """Notes a failure; raises it when no other candidate could do better."""
        telemetry.event("attempt failed", model=target.name, reason=failure.reason)
        health = self.health[target.name]
        if isinstance(failure, faults.ProviderBroke | faults.ProviderSlow) or (
            isinstance(failure, faults.ProviderBusy | faults.ProviderAway) and health.available
        ):
            health.failed(failure.retry_after_s)
        if not isinstance(failure, faults.WORTH_ANOTHER):
            raise failure
        log.info("attempt failed: %s %s", target.name, failure.reason)
        return failure

    async def _retry(self, failure: Failure) -> bool:
        """Whether the same candidate may be asked again: only where nothing was begun, and within the budget."""
        self._credit = min(self._credit + RETRY_BUDGET, 10.0)
        if not isinstance(failure, faults.ProviderBroke | faults.ProviderAway) or self._credit < 1:
            return False
        self._credit -= 1
        await asyncio.sleep(RETRY_AFTER_S * (0.5 + random.random()))
        return True
