"""Entries by the month, and sums by the half hour that tell the same: in a real PostgreSQL."""

import json
import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.ledger.app import MIGRATIONS, Settings, app
from services.ledger.books import Budget, Unit
from services.ledger.memory import MemoryStore
from services.ledger.people import PostgresPeople
from services.ledger.periods import Periods
from services.ledger.postgres import PostgresStore
from services.ledger.roles import Binding, Person
from services.ledger.store import Asked, Ending, Entry, MeterKey
from services.ledger.windows import BEGINNING
from services.runtime import postgres
from services.runtime.settings import BadSettings

NOW = datetime.now(UTC)
THIS_MONTH = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
METER = MeterKey("acme", "main", BEGINNING)
GROUPS = ("", "account", "model", "key", "template", "tag:template", "tag:team", "hour", "day", "month")


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 4) as made:
        yield made


def after(months: int) -> datetime:
    """A moment in the month so many after this one."""
    at = THIS_MONTH
    for _ in range(months):
        at = (at + timedelta(days=32)).replace(day=1)
    return at + timedelta(days=3)


def ending(at: datetime, cost: int = 5, **more: Any) -> Ending:
    facts: dict[str, Any] = {"account": "acme/a", "model": "m", "key_id": "k", **more}
    return Ending(Entry(uuid4(), "settled", at, cost=cost, held=cost, **facts), uuid4(), ())


async def months(pool: asyncpg.Pool) -> set[str]:
    rows = await pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'ledger' AND tablename LIKE 'entry\\_%'"
    )
    return {row["tablename"] for row in rows}


async def test_coming_months_have_their_tables_and_nothing_is_in_the_wrong_one(pool: asyncpg.Pool) -> None:
    store = PostgresStore(pool)
    early = ending(after(2))
    await store.end([early, ending(NOW)])
    assert await pool.fetchval("SELECT count(*) FROM entry_other") == 1
    assert await Periods(pool).turn() == [] == await Periods(pool).turn()
    assert await months(pool) == {"entry_first", "entry_other", f"entry_{after(1):%Y_%m}", f"entry_{after(2):%Y_%m}"}
    assert await pool.fetchval("SELECT count(*) FROM entry_other") == 0
    assert await pool.fetchval(f"SELECT count(*) FROM entry_{after(2):%Y_%m}") == 1
    assert await store.entry(early.entry.reservation_id) == early.entry
    assert await store.end([early]) == [early.entry], "it ends once, whichever month it is in"


async def test_a_month_that_leaves_is_carried_forward(pool: asyncpg.Pool) -> None:
    store = PostgresStore(pool)
    await store.set_budget(Budget("acme", "before", Unit.NANO_USD, 1000))
    old, kept = ending(NOW, 7, baseline=30), ending(after(4), 11)
    await Periods(pool, now=lambda: after(2)).turn()
    await store.end([old, kept])
    before = await store.usage(Asked("", BEGINNING, after(6)), "month", "", 10)
    assert await Periods(pool, 3, lambda: after(3)).turn() == []
    assert await Periods(pool, 3, lambda: after(4)).turn() == ["first"]
    assert "entry_first" not in await months(pool)
    assert await store.entry(old.entry.reservation_id) is None
    assert await store.entry(kept.entry.reservation_id) == kept.entry
    assert await store.usage(Asked("", BEGINNING, after(6)), "month", "", 10) == before
    books = {row["book"]: row["amount"] for row in await pool.fetch("SELECT * FROM carried")}
    assert books == {"account:acme/a": -7, "model:m": 7}
    left = await pool.fetchval("SELECT count(*) FROM ended"), await pool.fetchval("SELECT count(*) FROM spared")
    assert left == (1, 0)
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 1000))
    assert (await store.standing([METER]))[METER].spent == 18, "a budget without an end counts what has left, too"


async def test_sums_tell_what_entries_tell(pool: asyncpg.Pool) -> None:
    chance, memory, store = random.Random(7), MemoryStore(), PostgresStore(pool)
    since = NOW - timedelta(days=3)
    some = [
        ending(
            since + timedelta(seconds=chance.randrange(3 * 86400)),
            chance.randrange(100),
            account=chance.choice(("acme", "acme/a", "acme/a/b", "acmeb")),
            model=chance.choice(("m", "n", "")),
            key_id=chance.choice(("k", "l")),
            cached=chance.random() < 0.3,
            input_tokens=chance.randrange(50),
            baseline=chance.choice((0, 9)),
            tags=chance.choice(({}, {"template": "t@1"}, {"template": "t@2", "team": "x"}, {"team": "y"})),
        )
        for _ in range(400)
    ]
    some.append(Ending(Entry(uuid4(), "released", NOW, "k", "acme"), uuid4(), ()))
    for start in range(0, len(some), 50):
        for one in (memory, store):
            await one.end(some[start : start + 60])  # some come again
    for _ in range(150):
        begins = since + timedelta(seconds=chance.randrange(86400))
        asked = Asked(
            chance.choice(("", "acme", "acme/a")),
            chance.choice((BEGINNING, begins)),
            chance.choice((NOW + timedelta(days=1), begins + timedelta(minutes=chance.randrange(3000)))),
            chance.choice(("", "m")),
            chance.choice(({}, {"template": "t@1"}, {"team": "x"})),
            chance.choice(("", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")),
        )
        by = chance.choice(GROUPS)
        assert await store.usage(asked, by, "", 1000) == await memory.usage(asked, by, "", 1000), (asked, by)
        assert await store.daily(asked) == await memory.daily(asked)


async def test_the_release_before_may_write_beside_us(postgres_url: str, tmp_path: Path) -> None:
    """Its statements, on tables that were made by its own migrations and changed by ours."""
    for file in sorted(MIGRATIONS.glob("*.sql"))[:5]:
        shutil.copy(file, tmp_path)
    columns = "reservation_id, outcome, at, key_id, account, model, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, held, cached, tags"
    insert = (
        f"WITH made AS (INSERT INTO entry ({columns}) VALUES ($1, 'settled', $2, 'k', 'acme', 'm', 1, 2, 0, 0, 5, 5, false, $3)"
        " ON CONFLICT DO NOTHING RETURNING reservation_id), lines AS (INSERT INTO posting (reservation_id, book, amount)"
        " SELECT reservation_id, 'model:m', 5 FROM made UNION ALL SELECT reservation_id, 'account:acme', -5 FROM made),"
        " other AS (INSERT INTO spared (reservation_id, baseline) SELECT reservation_id, 9 FROM made)"
        " SELECT reservation_id FROM made"
    )
    before, beside, tags = uuid4(), uuid4(), json.dumps({"template": "t@1"})
    async with postgres.opened(postgres_url, "ledger", tmp_path, 2) as theirs:
        await theirs.fetch(insert, before, NOW, tags)
        async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 2) as ours:
            store = PostgresStore(ours)
            assert len(await theirs.fetch(insert, beside, NOW, tags)) == 1
            assert await theirs.fetch(insert, before, NOW, tags) == await theirs.fetch(insert, beside, NOW, tags) == []
            (row,) = await store.usage(Asked("", BEGINNING, NOW + timedelta(days=1)), "template", "", 10)
            assert (row.group, row.requests, row.cost, row.baseline) == ("t@1", 2, 10, 18)
            assert await ours.fetchval("SELECT sum(requests) FROM tally WHERE minutes = 30") == 2
            assert await ours.fetchval("SELECT sum(amount)::bigint FROM posting") == 0
            again = await store.end([Ending(Entry(before, "settled", NOW, "k", "acme"), uuid4(), ())])
            assert again[0] is not None and again[0].cost == 5


async def test_fewer_months_than_budgets_look_back_are_refused(postgres_url: str) -> None:
    with pytest.raises(BadSettings, match="entries_kept_months"):
        async with app(Settings(postgres_url, entries_kept_months=2)):
            pass


async def test_an_erased_tenants_spend_leaves_what_was_carried_too_and_all_balances(pool: asyncpg.Pool) -> None:
    store = PostgresStore(pool)
    await Periods(pool, now=lambda: after(2)).turn()
    old = [ending(NOW, cost, account=account, model=model)
           for cost, account, model in ((7, "acme/a", "m"), (5, "acme", "n"), (3, "globex", "m"), (2, "globex", "n"))]  # fmt: skip
    recent = [ending(after(4), 11), ending(after(4), 13, account="globex")]
    await store.end([*old, *recent])
    await Periods(pool, 3, lambda: after(3)).turn()
    assert await Periods(pool, 3, lambda: after(4)).turn() == ["first"]
    assert (await store.erase("acme", "", NOW))["entries"] == 1
    books = {row["book"]: row["amount"] for row in await pool.fetch("SELECT * FROM carried")}
    assert books == {"account:globex": -5, "model:m": 3, "model:n": 2}
    rows = await pool.fetch("SELECT reservation_id, book, amount FROM posting")
    assert {row["reservation_id"] for row in rows} == {recent[1].entry.reservation_id}
    assert sum(row["amount"] for row in rows) == 0
    (row,) = await store.usage(Asked("", BEGINNING, after(6)), "account", "", 10)
    assert (row.group, row.cost) == ("globex", 18)


async def test_people_who_are_bound_to_nothing_else_are_erased_with_a_tenant(pool: asyncpg.Pool) -> None:
    people, store = PostgresPeople(pool), PostgresStore(pool)
    for name, accounts in (("ann", ("acme",)), ("ben", ("acme/a", "globex"))):
        for account in accounts:
            await people.bind(Binding(account, f"user:{name}", "viewer"))
        await people.remember(Person(name, "issuer", name, (f"user:{name}",)), NOW)
    assert (await store.erase("acme", "", NOW))["role_bindings"] == 2
    assert await people.person("ann", NOW) is None and await people.person("ben", NOW) is not None
    assert [one.account for one in await people.listed("", None, 10)] == ["globex"]
