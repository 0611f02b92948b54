"""Keys that were revoked lately, for all who watch: the store is asked once for as many as there are."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.ledger.store import Store

EVERY_S = 0.2
"""How old what is told may be; a watcher looks as often, so that it hears within twice as long."""


@dataclass(slots=True)
class Revocations:
    store: Store
    lifetime: timedelta
    """Of a token: a key that was revoked before the last one given for it has ended is of no interest."""
    _known: frozenset[str] = frozenset()
    _read_at: float = float("-inf")
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def lately(self) -> frozenset[str]:
        """
        Raises:
            LedgerAway
        """
        async with self._reading:
            if time.monotonic() - self._read_at >= EVERY_S:
                since = datetime.now(UTC) - 2 * self.lifetime
                self._known = frozenset(await self.store.revoked_since(since))
                self._read_at = time.monotonic()
            return self._known
