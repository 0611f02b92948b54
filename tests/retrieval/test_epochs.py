"""No change of a tenant's documents goes unseen by those who watch, whenever it comes."""

import asyncio

from services.retrieval.library import Epochs


async def test_a_change_before_the_wait_is_told_at_once() -> None:
    epochs = Epochs()
    first = epochs.of("t")
    epochs.advance("t")
    async with asyncio.timeout(5):
        assert await epochs.after("t", first) > first


async def test_a_change_during_the_wait_is_told_to_all_who_wait() -> None:
    epochs = Epochs()
    first = epochs.of("t")
    waiting = [asyncio.create_task(epochs.after("t", first)) for _ in range(3)]
    other = asyncio.create_task(epochs.after("u", epochs.of("u")))
    await asyncio.sleep(0)
    epochs.advance("t")
    async with asyncio.timeout(5):
        assert set(await asyncio.gather(*waiting)) == {epochs.of("t")}
    assert not other.done()
    other.cancel()
