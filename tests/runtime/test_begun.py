"""What is begun by hand ends as it would in a task."""

import asyncio
from typing import Any

import pytest

from services.runtime.begun import Begun, in_time
from tests.support.garbage import TURNS, left_by


class Source:
    """Gives what it was given; `open` waiters, and those that ended."""

    def __init__(self) -> None:
        self.ready, self.ended = asyncio.Event(), 0

    async def next(self) -> str:
        try:
            await self.ready.wait()
            await asyncio.sleep(0.001)
            return "here"
        finally:
            self.ended += 1


async def at_once() -> str:
    return "now"


async def test_what_is_there_is_had_at_once() -> None:
    begun, told = Begun(at_once()), list[str]()
    assert begun.done and begun.value == "now" and await begun == "now"
    begun.tell(told.append)
    begun.close()
    assert told == ["now"]


async def test_what_is_not_there_may_be_awaited_or_told() -> None:
    source, told = Source(), list[str]()
    begun, other = Begun(source.next()), Begun(source.next())
    assert not begun.done
    other.tell(told.append)
    asyncio.get_running_loop().call_later(0.01, source.ready.set)
    assert await begun == "here"
    await asyncio.sleep(0.01)
    assert told == ["here"] and other.done and source.ended == 2


@pytest.mark.parametrize("late", [False, True])
async def test_closed_it_tells_nobody(late: bool) -> None:
    """Also where what it waits for has just come."""
    source, told = Source(), list[str]()
    begun = Begun(source.next())
    begun.tell(told.append)
    if late:
        source.ready.set()
    begun.close()
    source.ready.set()
    await asyncio.sleep(0.01)
    assert told == [] and source.ended == 1


async def test_cancelled_it_lets_go_of_what_it_waits_for() -> None:
    source = Source()

    async def waiting() -> str:
        return await Begun(source.next())

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.ended == 1


async def test_a_timer_within_it_is_its_own() -> None:
    async def patient() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    assert await Begun(patient()) == "late"
    assert await in_time(patient(), 10.0) == "late"


async def test_what_is_there_at_once_is_in_time() -> None:
    source = Source()
    assert await in_time(at_once(), 0.0) == "now"
    with pytest.raises(TimeoutError):
        await in_time(source.next(), 0.001)
    assert source.ended == 1


async def test_what_fails_fails_at_its_place() -> None:
    async def broken(at: Any) -> str:
        await at()
        raise ValueError

    async def nothing() -> None: ...

    with pytest.raises(ValueError):
        Begun(broken(nothing))
    with pytest.raises(ValueError):
        await Begun(broken(lambda: asyncio.sleep(0.001)))


async def test_it_leaves_nothing_to_the_collector() -> None:
    source = Source()

    class Watch:
        def __init__(self) -> None:
            self.event = Begun(source.next())
            self.event.tell(self.come)

        def come(self, event: str) -> None: ...

    assert left_by(lambda: Watch().event.close()) < TURNS
