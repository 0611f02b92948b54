"""A collection that nobody uses goes with all that is in it; one that is used stays."""

import contextlib
from collections.abc import Awaitable, Callable

import pytest

from services.retrieval.catalogue import Catalogue, MemoryCatalogue
from services.retrieval.collecting import EVERY_S, Collecting, CollectionUnknown
from services.retrieval.store import StoreAway
from services.runtime.background import running
from tests.retrieval.whole import Whole
from tests.support.waiting import eventually

HOUR = 3600.0


class Away(MemoryCatalogue):
    """A catalogue that can be away."""

    away = False

    async def use(self, tenant: str, name: str, at: float) -> None:
        if self.away:
            raise StoreAway
        await super().use(tenant, name, at)


def over(made: Whole, catalogue: Catalogue) -> tuple[Collecting, list[float]]:
    clock = [1e9]
    return Collecting(made.ingest, catalogue, lambda: clock[0]), clock


async def test_what_lies_idle_goes_with_its_documents() -> None:
    made = Whole()
    collecting, clock = over(made, made.catalogue)
    for name, idle_s in (("short", 3600), ("long", 7200), ("kept", 0)):
        await collecting.keep("acme", name, "", {}, idle_s)
        await made.bring(f"{name}.md", f"The {name} bridge.", collection=name)
    clock[0] += HOUR - 1
    assert await collecting.sweep() == 0
    clock[0] += 1
    assert await collecting.sweep() == 1
    with pytest.raises(CollectionUnknown):
        await collecting.known("acme", "short")
    assert sorted(await made.ids("bridge")) == ["kept.md", "long.md"]
    clock[0] += 1000 * HOUR
    assert await collecting.sweep() == 1 and await made.ids("bridge") == ["kept.md"]


async def working(collecting: Collecting) -> None:
    collecting.used("acme", "short")


@pytest.mark.parametrize(
    "use",
    [
        working,
        lambda collecting: collecting.keep("acme", "short", "anew", {}, 3600),
    ],
)
async def test_what_is_used_stays(use: Callable[[Collecting], Awaitable[object]]) -> None:
    made = Whole()
    collecting, clock = over(made, made.catalogue)
    await collecting.keep("acme", "short", "", {}, 3600)
    for _ in range(5):
        clock[0] += HOUR - 1
        await use(collecting)
        await collecting.note()
        assert await collecting.sweep() == 0
    clock[0] += HOUR
    assert await collecting.sweep() == 1


async def test_uses_are_noted_once_a_minute_and_wait_for_a_catalogue_that_is_away() -> None:
    catalogue = Away()
    collecting, clock = over(Whole(catalogue=catalogue), catalogue)
    await collecting.keep("acme", "short", "", {}, 3600)

    async def noted() -> float:
        collecting.used("acme", "short")
        with contextlib.suppress(StoreAway):
            await collecting.note()
        return (await collecting.known("acme", "short")).used - 1e9

    clock[0] += 10
    assert await noted() == 10
    clock[0] += EVERY_S - 1
    assert await noted() == 10
    clock[0] += 1
    catalogue.away = True
    assert await noted() == 10
    clock[0] += 5
    catalogue.away = False
    assert await noted() == 10 + EVERY_S, "when it was used, not when it was written"


async def test_a_use_is_written_by_itself_soon() -> None:
    made = Whole()
    collecting, clock = over(made, made.catalogue)
    await collecting.keep("acme", "short", "", {}, 3600)
    clock[0] += 10
    async with running(collecting.run()):
        collecting.used("acme", "short")

        async def written() -> bool:
            return (await collecting.known("acme", "short")).used == clock[0]

        await eventually(written)


async def test_a_book_of_uses_that_was_emptied_meanwhile_fails_nobody() -> None:
    class Emptied(MemoryCatalogue):
        async def use(self, tenant: str, name: str, at: float) -> None:
            collecting._fresh.clear()

    catalogue = Emptied()
    collecting, _ = over(Whole(catalogue=catalogue), catalogue)
    collecting.used("acme", "short")
    await collecting.note()
