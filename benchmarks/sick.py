"""Two providers in this process: one that answers in 50 ms, and one that takes 5 s and after a while hangs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.upstream import Provider

HEALTHY_S, SICK_S = 0.05, 5.0


class Sickness:
    """When the sick one hangs, and when its callers leave."""

    def __init__(self) -> None:
        self.hangs_at = float("inf")
        self.left = asyncio.Event()


class Sick(Provider):
    def __init__(self, sickness: Sickness) -> None:
        super().__init__(SICK_S)
        self.sickness = sickness

    def _answer(self, raw: bytes) -> None:
        if time.perf_counter() < self.sickness.hangs_at:
            super()._answer(raw)

    def connection_lost(self, error: Exception | None) -> None:
        self.sickness.left.set()


@asynccontextmanager
async def providers(sickness: Sickness) -> AsyncIterator[tuple[int, int]]:
    """Their ports."""
    loop = asyncio.get_running_loop()
    healthy = await loop.create_server(lambda: Provider(HEALTHY_S), "127.0.0.1", 0, backlog=4096)
    sick = await loop.create_server(lambda: Sick(sickness), "127.0.0.1", 0, backlog=4096)
    try:
        yield healthy.sockets[0].getsockname()[1], sick.sockets[0].getsockname()[1]
    finally:
        healthy.close()
        sick.close()
