"""Many read a thing at once, one changes it alone; who came first goes first, so that neither waits without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sharing:
    _gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who changes, and by who is next."""
    _readers: int = 0
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with self._gate:
            self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            self._left.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._gate:
            while self._readers:
                self._left.clear()
                await self._left.wait()
            yield
