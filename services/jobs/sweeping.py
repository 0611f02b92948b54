"""Forgets what is past its time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg

from services.runtime.postgres import AWAY, affected

EVERY_S, AT_ONCE = 60.0, 100


async def sweeping(*sweeps: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. What cannot be swept while the database is away is swept later."""
    while True:
        await asyncio.sleep(EVERY_S)
        for sweep in sweeps:
            with contextlib.suppress(*AWAY):
                await sweep()


async def forgotten(pool: asyncpg.Pool, delete: str) -> None:
    """All that there is, by a statement that deletes [AT_ONCE][] rows at most: none holds others up for long."""
    gone = AT_ONCE
    while gone == AT_ONCE:
        gone = affected(await pool.execute(delete))
