"""A number for each tenant, and for each of its collections, that grows with each change of the documents, as the catalogue keeps it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg

from services.retrieval.catalogue import Catalogue
from services.retrieval.postgres import PostgresCatalogue
from services.retrieval.store import StoreAway
from services.runtime.postgres import AWAY

log = logging.getLogger(__name__)
AGAIN_S = 0.5


@dataclass(slots=True)
class Epochs:
    catalogue: Catalogue
    _now: dict[str, int] = field(default_factory=dict)
    _changed: dict[str, asyncio.Event] = field(default_factory=dict)

    async def of(self, tenant: str) -> int:
        if (known := self._now.get(tenant)) is None:
            self.heard(tenant, await self.catalogue.epoch(tenant))
            known = self._now[tenant]
        return known

    def heard(self, tenant: str, epoch: int) -> None:
        """An older one than is known changes nothing: tellings may overtake each other."""
        if epoch <= self._now.get(tenant, 0):
            return
        self._now[tenant] = epoch
        if (event := self._changed.pop(tenant, None)) is not None:
            event.set()

    async def after(self, tenant: str, epoch: int) -> int:
        """The first epoch that is not `epoch`: at once when it has changed already."""
        while (now := await self.of(tenant)) == epoch:
            await self._changed.setdefault(tenant, asyncio.Event()).wait()
        return now

    async def told(self, tenant: str, collection: str = "") -> AsyncIterator[int]:
        """The epoch of the collection, or of all the tenant's documents, and each new one."""
        whole, last = await self.of(tenant), 0
        while True:
            now = await self.catalogue.collection_epoch(tenant, collection) if collection else whole
            if now != last:
                yield now
                last = now
            whole = await self.after(tenant, whole)

    async def follow(self, catalogue: PostgresCatalogue) -> None:
        """Hears of changes that other replicas made, until cancelled."""
        while True:
            try:
                async with catalogue.listening(self.heard) as connection:
                    for tenant in list(self._now):  # what was said before we listened
                        self.heard(tenant, await catalogue.epoch(tenant))
                    await _ended(connection)
            except (*AWAY, StoreAway) as error:
                log.warning("changes by other replicas are not heard: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_S)


async def _ended(connection: asyncpg.Connection) -> None:
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    await ended.wait()
