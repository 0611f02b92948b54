"""One change of a document at a time in this process, in the order of asking."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from services.retrieval.documents import Key


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


@dataclass(slots=True)
class Turns:
    _kept: dict[Key, _Turn] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, key: Key) -> AsyncIterator[None]:
        turn = self._kept.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._kept[key]

    @asynccontextmanager
    async def all_of(self, keys: Iterable[Key]) -> AsyncIterator[None]:
        """In one order for everybody, so that nobody waits in a circle."""
        async with AsyncExitStack() as held:
            for key in sorted(set(keys)):
                await held.enter_async_context(self.of(key))
            yield
