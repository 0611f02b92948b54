"""Readers together, a writer alone, nobody without end."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from services.retrieval.sharing import Sharing


async def test_readers_come_together_and_a_writer_alone() -> None:
    shared, seen, inside = Sharing(), [], set()

    async def enters(name: str, section: AbstractAsyncContextManager[None]) -> None:
        async with section:
            inside.add(name)
            await asyncio.sleep(0.01)
            seen.append((name, frozenset(inside)))
            inside.discard(name)

    kinds = {
        "a": shared.reading,
        "b": shared.reading,
        "c": shared.alone,
        "d": shared.reading,
        "e": shared.alone,
        "f": shared.reading,
    }
    await asyncio.gather(*(enters(name, kind()) for name, kind in kinds.items()))
    found = dict(seen)
    assert found["a"] == {"a", "b"}
    assert [name for name, _ in seen] == ["a", "b", "c", "d", "e", "f"], "in the order of asking"
    assert all(found[name] == {name} for name in ("c", "d", "e", "f"))


async def test_readers_who_keep_coming_hold_up_no_writer() -> None:
    shared, written = Sharing(), asyncio.Event()

    async def reads() -> None:
        while not written.is_set():
            async with shared.reading():
                await asyncio.sleep(0.001)

    readers = [asyncio.create_task(reads()) for _ in range(5)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5), shared.alone():
        written.set()
    await asyncio.gather(*readers)


@pytest.mark.parametrize("kind", ["reading", "alone"])
async def test_who_gives_up_waiting_leaves_it_to_others(kind: str) -> None:
    shared = Sharing()
    async with shared.alone():
        waiting = asyncio.create_task(_entered(getattr(shared, kind)()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), shared.reading():
        again = asyncio.create_task(_entered(shared.alone()))
        await asyncio.sleep(0.01)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
    async with asyncio.timeout(1), shared.alone():
        pass


async def _entered(section: object) -> None:
    async with section:  # type: ignore[attr-defined]
        pass
