"""What every store of the router's must do, and what replicas know of each other by one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NoReturn

import pytest

from services.router.app import MIGRATIONS
from services.router.common import Common, moved
from services.router.decisions import Decision
from services.router.postgres import PostgresStore
from services.router.store import Learnt, MemoryStore, Moved, Store, StoreAway, Talk
from services.runtime import postgres
from services.runtime.background import running
from tests.router.test_ranking import STRONG, WEAK
from tests.support.waiting import until


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with postgres.opened(request.getfixturevalue("postgres_url"), "router", MIGRATIONS, 4) as pool:
        await pool.execute("TRUNCATE conversation, learnt")
        yield PostgresStore(pool)


async def test_a_conversation_is_with_the_model_it_was_with_last(store: Store) -> None:
    assert await store.model(b"one") == ""
    await store.keep({b"one": ("acme", "weak"), b"two": ("acme", "strong")})
    await store.keep({b"one": ("acme", "strong")})
    assert [await store.model(name) for name in (b"one", b"two", b"three")] == ["strong", "strong", ""]
    await store.forget()
    assert await store.model(b"two") == "strong"


async def test_steps_come_one_after_the_other(store: Store) -> None:
    async def step() -> Moved:
        return await store.move("acme", "weak", lambda before: (before[0] + 0.5, before[1] + 1))

    seen = await asyncio.gather(*(step() for _ in range(20)))
    assert sorted(seen) == [(0.5 * n, n) for n in range(1, 21)]
    await store.move("other", "weak", lambda before: (before[0] - 1.0, before[1] + 1))
    await store.forget()
    assert dict(await store.learnt()) == {("acme", "weak"): (10.0, 20), ("other", "weak"): (-1.0, 1)}
    assert await store.learnt(60.0) == await store.learnt()


async def test_a_tenant_is_erased_and_no_other(store: Store) -> None:
    for tenant in ("acme", "other"):
        await store.keep({tenant.encode(): (tenant, "weak")})
        await store.move(tenant, "weak", lambda before: (1.0, 1))
    assert await store.erase("acme") == {"conversations": 1, "abilities": 1}
    assert await store.erase("acme") == {"conversations": 0, "abilities": 0}
    assert [await store.model(name) for name in (b"acme", b"other")] == ["", "weak"]
    assert list(await store.learnt()) == [("other", "weak")]


async def test_what_is_long_past_is_forgotten(postgres_url: str) -> None:
    async with postgres.opened(postgres_url, "router", MIGRATIONS, 2) as pool:
        store = PostgresStore(pool)
        await store.keep({b"one": ("acme", "weak")})
        await store.move("acme", "weak", lambda before: (1.0, 1))
        await pool.execute("UPDATE conversation SET at = now() - interval '31 minutes'")
        await pool.execute("UPDATE learnt SET at = now() - interval '2 minutes'")
        assert await store.learnt() and not await store.learnt(60.0)
        await pool.execute("UPDATE learnt SET at = now() - interval '91 days'")
        assert await store.model(b"one") == "" and not await store.learnt()
        await store.forget()
        assert await pool.fetchval("SELECT (SELECT count(*) FROM conversation) + (SELECT count(*) FROM learnt)") == 0


def test_a_memory_forgets_a_conversation_after_half_an_hour() -> None:
    clock = [0.0]
    store = MemoryStore(lambda: clock[0])
    asyncio.run(store.keep({b"one": ("acme", "weak")}))
    clock[0] = 1799.0
    assert asyncio.run(store.model(b"one")) == "weak"
    clock[0] = 1800.0
    assert asyncio.run(store.model(b"one")) == ""


async def test_replicas_know_of_each_other_and_a_new_one_of_both(store: Store) -> None:
    one, other = Common(), Common()
    async with running(one.share(store), other.share(store)):
        await until(lambda: one.store is not None and other.store is not None)
        await one.keep("acme", "talk", "strong")
        async with asyncio.timeout(10):
            while await other.model("acme", "talk") != "strong":
                await asyncio.sleep(0.02)
        assert await other.model("other", "talk") == ""
        for n in range(10):
            await (one, other)[n % 2].learn(Decision(None), "acme", WEAK, True)
        alone = Common()
        for _ in range(10):
            await alone.learn(Decision(None), "acme", WEAK, True)
        later = Common()
        async with running(later.share(store)):
            for common in (one, other, later):
                ability = partial(common.ability, "acme", WEAK)
                await until(partial(_near, ability, alone.ability("acme", WEAK)), 10)
                assert common.ability("acme", STRONG) == STRONG.ability
                assert common.ability("other", WEAK) == WEAK.ability
    assert alone.ability("acme", WEAK) > WEAK.ability + 0.1


def _near(ability: Callable[[], float], wanted: float) -> bool:
    return ability() == pytest.approx(wanted)


async def test_what_waits_at_the_end_is_written(store: Store) -> None:
    common = Common()
    async with running(common.share(store)):
        await until(lambda: common.store is not None)
        await common.keep("acme", "talk", "strong")
    assert await Common(store).model("acme", "talk") == "strong"


@dataclass
class Away:
    """A store that does not answer, or not in time."""

    hangs: bool = False

    async def model(self, conversation: bytes) -> str:
        await self._away()

    async def keep(self, talks: Mapping[bytes, Talk]) -> None:
        await self._away()

    async def learnt(self, within_s: float = 0.0) -> dict[tuple[str, str], Moved]:
        await self._away()

    async def move(self, tenant: str, model: str, step: object) -> Moved:
        await self._away()

    async def forget(self) -> None:
        await self._away()

    async def erase(self, tenant: str) -> Mapping[str, int]:
        await self._away()

    async def _away(self) -> NoReturn:
        if self.hangs:
            await asyncio.sleep(3600)
        raise StoreAway


@pytest.mark.parametrize("hangs", (False, True))
async def test_without_its_store_a_replica_goes_on_with_what_it_knows(hangs: bool) -> None:
    common = Common()
    async with running(common.share(Away(hangs))):
        await until(lambda: common.store is not None)
        await common.keep("acme", "talk", "strong")
        assert await common.model("acme", "talk") == "strong"
        await asyncio.wait_for(common.learn(Decision(None), "acme", WEAK, True), 10)
    assert common.ability("acme", WEAK) > WEAK.ability


async def test_what_a_replica_missed_it_hears_when_the_store_is_back() -> None:
    store, common = MemoryStore(), Common()

    class Shaky(MemoryStore):
        away = False

        async def learnt(self, within_s: float = 0.0) -> Learnt:
            if self.away:
                raise StoreAway
            return {} if within_s else await store.learnt()  # what happened meanwhile is long past

        async def keep(self, talks: Mapping[bytes, Talk]) -> None:
            if self.away:
                raise StoreAway
            await store.keep(talks)

    shaky = Shaky()
    async with running(common.share(shaky)):
        await until(lambda: common.store is not None)
        shaky.away = True
        await common.keep("acme", "talk", "strong")
        await store.move("acme", "weak", lambda before: (1.0, 1))
        await asyncio.sleep(3.0)
        assert common.ability("acme", WEAK) == WEAK.ability
        shaky.away = False
        await until(lambda: common.ability("acme", WEAK) == WEAK.ability + 1.0)
    assert await Common(store).model("acme", "talk") == "strong"


def test_outcomes_move_less_and_less() -> None:
    far, before = [], (0.0, 0)
    for _ in range(40):
        before = moved(Decision(None), WEAK, True, before)
        far.append(before[0])
    steps = [later - earlier for earlier, later in pairwise(far)]
    assert far[-1] > 0.1 and steps[0] > steps[1] and all(after <= first for first, after in pairwise(steps))
