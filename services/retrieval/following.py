"""Gives passages their dense vectors as they come."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from services.retrieval.generations import Generation, Generations
from services.retrieval.store import StoreAway, Vector

log = logging.getLogger(__name__)
BATCH, AGAIN_S, LOOKS_EVERY_S = 32, 1.0, 5.0


@dataclass(slots=True)
class Following:
    generations: Generations
    wake: asyncio.Event
    now: Callable[[], float] = time.time
    lag_s: float = 0.0
    """How far dense vectors are behind, at the last look."""
    faults: dict[str, str] = field(default_factory=dict)
    """Why a generation's passages get none, by its name."""

    async def run(self) -> None:
        """Until cancelled. Without a key nothing can be done."""
        if not self.generations.active.encoding.key:
            return
        while True:
            self.wake.clear()  # before it looks: what comes while it does is not missed
            if await self.step():
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if self.faults else LOOKS_EVERY_S):  # another replica may bring some
                    await self.wake.wait()

    async def step(self) -> int:
        """How many passages got their vectors; a generation that cannot be served holds up no other."""
        count = 0
        for one in reversed(self.generations.every):  # what is searched first
            try:
                count += await self._step(one)
                self.faults.pop(one.name, None)
            except (grpc.aio.AioRpcError, StoreAway) as error:
                why = (
                    f"{error.code().name}, {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
                )
                if self.faults.get(one.name) != why:
                    log.warning("dense vectors of generation %s are behind: %s", one.name, why)
                self.faults[one.name] = why
        return count

    async def _step(self, generation: Generation) -> int:
        waiting = await generation.store.without_dense(BATCH)
        if generation is self.generations.active:
            self.lag_s = self.now() - min((one.indexed for one in waiting), default=self.now())
        if waiting:
            vectors = await generation.encoding.dense([one.searched for one in waiting])
            by_tenant = defaultdict[str, dict[str, Vector]](dict)
            for one, vector in zip(waiting, vectors, strict=True):
                by_tenant[one.tenant][one.id] = vector
            for tenant, own in by_tenant.items():
                await generation.store.add_dense(tenant, own)
        return len(waiting)
