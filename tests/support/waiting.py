"""Waits for what another task, thread or process does."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], object], within_s: float = 20.0) -> None:
    """Returns once `true()` is; raises TimeoutError when it does not come to be."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.005)


async def eventually(true: Callable[[], Awaitable[object]], within_s: float = 20.0) -> None:
    """As `until`, for what has to be asked."""
    async with asyncio.timeout(within_s):
        while not await true():
            await asyncio.sleep(0.02)
