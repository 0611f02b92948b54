"""A collection that nobody uses goes with all that is in it; one that is used stays."""

from collections.abc import Awaitable, Callable

import pytest

from services.retrieval.catalogue import Catalogue, MemoryCatalogue
from services.retrieval.collecting import EVERY_S, Collecting, CollectionUnknown
from services.retrieval.store import StoreAway
from tests.retrieval.whole import Whole

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


@pytest.mark.parametrize(
    "use",
    [
        lambda collecting: collecting.used("acme", "short"),
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
        assert await collecting.sweep() == 0
    clock[0] += HOUR
    assert await collecting.sweep() == 1


async def test_uses_are_noted_once_a_minute_and_fail_nobody() -> None:
    catalogue = Away()
    collecting, clock = over(Whole(catalogue=catalogue), catalogue)
    await collecting.keep("acme", "short", "", {}, 3600)

    async def noted() -> float:
        await collecting.used("acme", "short")
        return (await collecting.known("acme", "short")).used - 1e9

    clock[0] += 10
    assert await noted() == 10
    clock[0] += EVERY_S - 1
    assert await noted() == 10
    clock[0] += 1
    catalogue.away = True
    assert await noted() == 10
    catalogue.away = False
    assert await noted() == 10 + EVERY_S


async def test_a_use_that_cannot_be_noted_fails_nobody_when_the_book_was_emptied_meanwhile() -> None:
    class Emptied(MemoryCatalogue):
        async def use(self, tenant: str, name: str, at: float) -> None:
            collecting._noted.clear()
            raise StoreAway

    catalogue = Emptied()
    collecting, _ = over(Whole(catalogue=catalogue), catalogue)
    await collecting.used("acme", "short")
