"""A second call when the first is slow, and the first answer wins (Dean and Barroso, The Tail at Scale, 2013)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def first_of(
    first: Callable[[], Awaitable[T]],
    second: Callable[[], Awaitable[T] | None],
    after_s: float,
    discard: Callable[[T], Awaitable[None]],
) -> tuple[T, bool]:
    """What answers first, and whether another call was left behind.

    `second` is begun when `first` has said nothing for `after_s` seconds; it may find nobody to ask. The call that
    lost is cancelled, or `discard`ed when it answered all the same, and has ended when this returns. A failure of one
    waits for the other.

    Raises:
        Failure: both failed; the first one's.
    """
    racing = [asyncio.ensure_future(first())]
    won: asyncio.Future[T] | None = None
    try:
        await asyncio.wait(racing, timeout=after_s)
        if not racing[0].done() and (spare := second()) is not None:
            racing.append(asyncio.ensure_future(spare))
        while won is None and (open_ := [one for one in racing if not one.done()] or racing):
            await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
            won = next((one for one in racing if one.done() and one.exception() is None), None)
            if won is None and all(one.done() for one in racing):
                won = racing[0]  # both have failed: raises
        assert won is not None
        return won.result(), len(racing) > 1
    finally:
        lost = [one for one in racing if one is not won]
        for one in lost:
            one.cancel()
        for left in await asyncio.gather(*lost, return_exceptions=True):
            if not isinstance(left, BaseException):
                await discard(left)
