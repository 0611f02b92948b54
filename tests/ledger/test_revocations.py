"""Revoked keys, as those who watch hear of them."""

import asyncio
from datetime import datetime, timedelta

from services.ledger.memory import MemoryStore
from services.ledger.revocations import EVERY_S, Revocations


class Counting(MemoryStore):
    asked = 0

    async def revoked_since(self, since: datetime) -> list[str]:
        self.asked += 1
        await asyncio.sleep(0)
        return [f"key_{self.asked}"]


async def test_however_many_watch_the_store_is_asked_once_in_a_while() -> None:
    store = Counting()
    revocations = Revocations(store, timedelta(minutes=1))
    first = await asyncio.gather(*(revocations.lately() for _ in range(100)))
    assert store.asked == 1 and set(first) == {frozenset({"key_1"})}
    await asyncio.sleep(EVERY_S * 1.1)
    later = await asyncio.gather(*(revocations.lately() for _ in range(100)))
    assert store.asked == 2 and set(later) == {frozenset({"key_2"})}
