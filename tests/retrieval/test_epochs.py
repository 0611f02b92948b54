"""No change of a tenant's documents goes unseen by those who watch, whenever it comes and whoever makes it."""

import asyncio

from services.retrieval.app import MIGRATIONS
from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.documents import Row
from services.retrieval.epochs import Epochs
from services.retrieval.postgres import PostgresCatalogue
from services.runtime import postgres
from services.runtime.background import running


async def test_a_change_before_the_wait_is_told_at_once() -> None:
    epochs = Epochs(MemoryCatalogue())
    first = await epochs.of("t")
    epochs.heard("t", first + 1)
    async with asyncio.timeout(5):
        assert await epochs.after("t", first) > first


async def test_a_change_during_the_wait_is_told_to_all_who_wait() -> None:
    epochs = Epochs(MemoryCatalogue())
    first = await epochs.of("t")
    waiting = [asyncio.create_task(epochs.after("t", first)) for _ in range(3)]
    other = asyncio.create_task(epochs.after("u", await epochs.of("u")))
    await asyncio.sleep(0)
    epochs.heard("t", first + 1)
    async with asyncio.timeout(5):
        assert set(await asyncio.gather(*waiting)) == {first + 1}
    assert not other.done()
    other.cancel()


async def test_an_older_telling_that_comes_late_changes_nothing() -> None:
    epochs = Epochs(MemoryCatalogue())
    first = await epochs.of("t")
    epochs.heard("t", first + 5)
    epochs.heard("t", first + 2)
    assert await epochs.of("t") == first + 5


async def test_replicas_hear_of_each_others_changes(postgres_url: str) -> None:
    async with postgres.opened(postgres_url, "retrieval", MIGRATIONS, 4, sessions=True) as pool:
        one, other = PostgresCatalogue(pool), PostgresCatalogue(pool)
        epochs = Epochs(other)
        first = await epochs.of("acme")
        async with running(epochs.follow(other)):
            await asyncio.sleep(0.2)  # until it listens; what came before is asked for
            made = await one.commit(Row("acme", "", "d", "v", indexed=1.0))
            async with asyncio.timeout(5):
                assert await epochs.after("acme", first) == made


async def test_after_a_restart_every_tenant_has_a_new_epoch_and_all_replicas_know(postgres_url: str) -> None:
    async with postgres.opened(postgres_url, "retrieval", MIGRATIONS, 4, sessions=True) as pool:
        catalogue = PostgresCatalogue(pool)
        epochs = Epochs(catalogue)
        first = {tenant: await epochs.of(tenant) for tenant in ("acme", "a tenant with spaces")}
        async with running(epochs.follow(catalogue)):
            await asyncio.sleep(0.2)
            await PostgresCatalogue(pool).restarted()
            async with asyncio.timeout(5):
                for tenant, epoch in first.items():
                    assert await epochs.after(tenant, epoch) == await catalogue.epoch(tenant) > epoch


async def test_a_change_of_another_collection_is_not_told(postgres_url: str) -> None:
    """A replica of the release before, which names no collection, changes all of them."""
    async with postgres.opened(postgres_url, "retrieval", MIGRATIONS, 4, sessions=True) as pool:
        catalogue = PostgresCatalogue(pool)
        epochs = Epochs(catalogue)
        told = epochs.told("acme", "hr")
        first = await anext(told)
        await moved(epochs, "acme", await catalogue.commit(Row("acme", "law", "d", "v", indexed=1.0)))
        other = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0.1)
        assert not other.done()
        changed = await catalogue.commit(Row("acme", "hr", "d", "v", indexed=1.0))
        await moved(epochs, "acme", changed)
        async with asyncio.timeout(5):
            assert await other == changed > first
        before = "INSERT INTO epoch VALUES ($1, 0) ON CONFLICT (tenant) DO UPDATE SET epoch = epoch.epoch + 1 RETURNING epoch"
        made = await pool.fetchval(before, "acme")
        await moved(epochs, "acme", made)
        async with asyncio.timeout(5):
            assert await anext(told) == made > changed


async def moved(epochs: Epochs, tenant: str, epoch: int) -> None:
    """As it is told to those who wait, and they have had time to look."""
    epochs.heard(tenant, epoch)
    await asyncio.sleep(0.05)
