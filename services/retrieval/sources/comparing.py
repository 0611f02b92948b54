"""What a listing says now against what was brought before: for sources that know no changes, but only what is there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from services.retrieval.sources import Change, Desk

TOGETHER = 8
"""Documents under way at a time."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Something that is there."""

    mark: str
    """Another whenever its content is."""
    changed: float


Load = Callable[[str, Listed], Awaitable[Change | None]]
"""Reads what is listed under a path; None when it is gone meanwhile."""


async def compared(desk: Desk, collection: str, listing: Mapping[str, Listed], load: Load, seen: float) -> None:
    """Hands in everything that is new, changed or gone. `seen` is when the listing was made."""
    known = await desk.marks()
    gate = asyncio.Semaphore(TOGETHER)

    async def one(path: str, listed: Listed) -> None:
        async with gate:
            if (change := await load(path, listed)) is not None:
                await desk.take(change)

    try:
        async with asyncio.TaskGroup() as tasks:
            for path, listed in listing.items():
                if known.get((collection, path)) != listed.mark:
                    tasks.create_task(one(path, listed))
    except ExceptionGroup as failed:  # what stopped the others says enough
        raise failed.exceptions[0] from None
    for where, path in known:
        if where == collection and path not in listing:
            await desk.take(Change(path, collection, seen))
