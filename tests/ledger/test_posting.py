"""How endings reach the store: in groups, each durable before whoever waits for it hears, one told while the next is on its way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.ledger.posting import EntryUnfit, Posting
from services.ledger.store import Ending, Entry, LedgerAway
from services.runtime.background import running
from tests.support.waiting import until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Database:
    """Takes its time for a group, and fails those it is told to fail."""

    groups: list[list[UUID]] = field(default_factory=list)
    """As they came."""
    durable: set[UUID] = field(default_factory=set)
    failing: set[int] = field(default_factory=set)
    """Which of the groups, counted from 0."""
    unfit: set[UUID] = field(default_factory=set)
    """Entries with a value that no column takes: the whole group is refused."""
    holding: asyncio.Event | None = None
    """Every group from the second on waits for it."""

    async def end(self, endings: Sequence[Ending]) -> list[Entry | None]:
        number, group = len(self.groups), [one.entry.reservation_id for one in endings]
        self.groups.append(group)
        if number and self.holding is not None:
            await self.holding.wait()
        await asyncio.sleep(0.002)
        if number in self.failing:
            raise LedgerAway
        if self.unfit.intersection(group):
            raise asyncpg.UntranslatableCharacterError("no room for it")
        self.durable |= set(group)
        return [None] * len(group)


@asynccontextmanager
async def posting(database: Any) -> AsyncIterator[Posting]:
    made = Posting(database, lambda entry, earlier: None)
    async with running(made.run()):
        yield made


def ending() -> Ending:
    name = uuid4()
    return Ending(Entry(name, "settled", NOW, "k", "acme"), uuid4(), ())


async def settled(made: Posting, database: Database, ending: Ending) -> None:
    await made.add(ending)
    assert ending.entry.reservation_id in database.durable, "heard before it was durable"


async def test_callers_that_come_back_at_once_work_while_the_others_are_posted() -> None:
    database = Database()

    async def caller(made: Posting) -> None:
        for _ in range(20):
            await settled(made, database, ending())

    async with posting(database) as made:
        await asyncio.gather(*(caller(made) for _ in range(8)))
    assert len(database.durable) == 8 * 20
    assert len(database.groups[0]) == 8
    assert {len(group) for group in database.groups[4:20]} == {4}


async def test_those_of_a_group_hear_while_the_next_is_on_its_way() -> None:
    database = Database(holding=asyncio.Event())
    async with posting(database) as made:
        first = made.add(ending())
        await until(lambda: database.groups)
        second = made.add(ending())
        await first
        await until(lambda: len(database.groups) == 2)
        assert not second.done()
        assert database.holding is not None
        database.holding.set()
        await second


async def test_a_group_that_fails_is_posted_again_and_holds_nobody_up_who_was_posted() -> None:
    database = Database(failing={1, 2})
    async with posting(database) as made:
        first = asyncio.create_task(settled(made, database, ending()))
        await until(lambda: database.groups)
        second = asyncio.create_task(settled(made, database, ending()))
        await asyncio.gather(first, second)
    assert [len(group) for group in database.groups] == [1, 1, 1, 1]
    assert not made.waiting


async def test_who_is_durable_hears_of_it_when_posting_ends() -> None:
    database = Database(holding=asyncio.Event())
    async with posting(database) as made:
        told = [made.add(ending()) for _ in range(6)]
        await until(lambda: database.durable)
        last = made.add(ending())
        await asyncio.sleep(0)
    assert all(one.done() for one in told)
    assert not last.done()
    assert len(made.waiting) == 1


async def test_an_entry_that_cannot_be_written_holds_up_none_of_its_group() -> None:
    database = Database()
    endings = [ending() for _ in range(9)]
    database.unfit = {endings[3].entry.reservation_id, endings[8].entry.reservation_id}
    async with posting(database) as made:
        told = await asyncio.gather(*(made.add(one) for one in endings), return_exceptions=True)
        assert [n for n, one in enumerate(told) if isinstance(one, EntryUnfit)] == [3, 8]
        assert database.durable == {one.entry.reservation_id for one in endings} - database.unfit
        assert not made.waiting
        await settled(made, database, ending())


async def test_a_database_that_goes_away_meanwhile_loses_nothing() -> None:
    endings = [ending() for _ in range(4)]
    database = Database(failing={2}, unfit={endings[0].entry.reservation_id})
    async with posting(database) as made:
        bad, *told = [made.add(one) for one in endings]
        await asyncio.gather(*told)
        with pytest.raises(EntryUnfit, match="UntranslatableCharacterError"):
            await bad
    assert database.durable == {one.entry.reservation_id for one in endings[1:]}
