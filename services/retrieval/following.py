"""Gives passages their MiniLM vectors as they come."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from services.retrieval.encoding import Encoding
from services.retrieval.store import Store, StoreAway

log = logging.getLogger(__name__)
BATCH, AGAIN_S, LOOKS_EVERY_S = 32, 1.0, 5.0


@dataclass(slots=True)
class Following:
    store: Store
    encoding: Encoding
    wake: asyncio.Event
    now: Callable[[], float] = time.time
    lag_s: float = 0.0
    """How far MiniLM vectors are behind, at the last look."""

    async def run(self) -> None:
        """Until cancelled. Without a key nothing can be done."""
        if not self.encoding.key:
            return
        while True:
            try:
                if await self.step():
                    continue
            except grpc.aio.AioRpcError as error:
                log.warning("MiniLM vectors are behind: the encoder says %s", error.code().name)
                await asyncio.sleep(AGAIN_S)
                continue
            except StoreAway as error:
                log.warning("MiniLM vectors are behind: %s", error)
                await asyncio.sleep(AGAIN_S)
                continue
            self.wake.clear()
            try:
                async with asyncio.timeout(LOOKS_EVERY_S):  # another replica may have brought some
                    await self.wake.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """How many passages got their vectors."""
        waiting = await self.store.without_dense(BATCH)
        self.lag_s = self.now() - min((one.indexed for one in waiting), default=self.now())
        if waiting:
            vectors = await self.encoding.dense([one.searched for one in waiting])
            await self.store.add_dense({one.id: vector for one, vector in zip(waiting, vectors, strict=True)})
        return len(waiting)
