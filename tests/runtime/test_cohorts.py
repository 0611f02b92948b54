"""Requests at the same step go together; nobody waits alone or for ever."""

import asyncio

from services.runtime import cohorts


async def test_one_alone_waits_for_nobody() -> None:
    async with asyncio.timeout(5):
        await cohorts.join("alone")


async def test_those_at_one_step_go_through_it_together() -> None:
    went: list[str] = []

    async def request() -> None:
        for step in ("first", "second", "third"):
            await cohorts.join(step)
            went.append(step)

    async with asyncio.TaskGroup() as requests:
        for _ in range(4):
            requests.create_task(request())
    assert went == ["first"] * 4 + ["second"] * 4 + ["third"] * 4


async def test_a_step_with_one_waiting_is_not_passed_over_for_ever() -> None:
    async def crowd() -> None:
        while True:
            await cohorts.join("crowded")

    crowds = [asyncio.create_task(crowd()) for _ in range(20)]
    try:
        async with asyncio.timeout(10):
            await cohorts.join("quiet")
    finally:
        for one in crowds:
            one.cancel()
        await asyncio.gather(*crowds, return_exceptions=True)


async def test_one_who_gives_up_holds_up_nobody() -> None:
    gone, stays = cohorts.join("step"), cohorts.join("step")
    assert gone.cancel()
    async with asyncio.timeout(5):
        await stays
    assert gone.cancelled()
