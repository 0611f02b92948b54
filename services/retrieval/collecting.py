"""A collection as a whole: kept, told of, and taken away with its documents, at once or when nobody uses it any more."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.retrieval.catalogue import Catalogue
from services.retrieval.documents import Collection
from services.retrieval.ingest import Ingest
from services.retrieval.store import StoreAway
from services.runtime.errors import Failure, Kind
from services.runtime.remembered import Remembered

log = logging.getLogger(__name__)

PAGE = 500
EVERY_S = 60.0
"""How often a use is noted, and idle collections are looked for."""
NOTES_EVERY_S = 1.0
MOST_NOTED = 10_000


class CollectionUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "COLLECTION_UNKNOWN"
    text = "there is no collection {name}"
    field = "name"


@dataclass(frozen=True, slots=True)
class Collecting:
    ingest: Ingest
    catalogue: Catalogue
    now: Callable[[], float] = time.time
    _noted: Remembered[tuple[str, str], float] = field(default_factory=lambda: Remembered(MOST_NOTED))
    _fresh: Remembered[tuple[str, str], float] = field(default_factory=lambda: Remembered(MOST_NOTED))
    """Uses that are not written yet."""

    async def keep(
        self, tenant: str, name: str, title: str, metadata: Mapping[str, str], idle_s: int = 0
    ) -> Collection:
        labels, at = json.dumps(dict(metadata), sort_keys=True), self.now()
        await self.catalogue.keep_collection(Collection(tenant, name, title, labels, at, idle_s=idle_s, used=at))
        return await self.known(tenant, name)

    def used(self, tenant: str, name: str) -> None:
        """Somebody works with it, and does not wait until that is written."""
        at = self.now()
        if at - self._noted.get((tenant, name), 0.0) >= EVERY_S:
            self._fresh.keep((tenant, name), self._noted.keep((tenant, name), at))

    async def note(self) -> None:
        """Writes who was used.

        Raises:
            StoreAway: those that are left are written next time.
        """
        for (tenant, name), at in list(self._fresh.items()):
            await self.catalogue.use(tenant, name, at)
            self._fresh.pop((tenant, name), None)  # the book may have been emptied meanwhile

    async def run(self) -> None:
        """Notes uses, and takes away what nobody has used for too long, until cancelled. Replicas may do so side by side."""
        swept = -math.inf
        while True:
            now = time.monotonic()
            try:
                await self.note()
                if now - swept >= EVERY_S:
                    swept = now
                    await self.sweep()
            except StoreAway as error:
                log.debug("uses are noted, and idle collections go, later: %s", error)
            await asyncio.sleep(NOTES_EVERY_S)

    async def sweep(self) -> int:
        """How many collections went.

        Raises:
            StoreAway: those that are left go next time.
        """
        gone = 0
        while over := await self.catalogue.idle(self.now(), 1):  # one at a time: the next may be used meanwhile
            _, documents = await self.drop(over[0].tenant, over[0].name)
            log.info("a collection was idle for %d s and went with %d documents", over[0].idle_s, documents)
            gone += 1
        return gone

    async def known(self, tenant: str, name: str) -> Collection:
        """
        Raises:
            CollectionUnknown: it was never kept, and has no documents.
        """
        if (found := await self.catalogue.collection(tenant, name)) is None:
            raise CollectionUnknown(name=name)
        return found

    async def drop(self, tenant: str, name: str) -> tuple[bool, int]:
        """Whether there was one, and how many documents it had. Its name goes last: a call that broke off is made again.

        Raises:
            StoreAway: some documents may be gone; the others go when it is called again.
        """
        gone, bad, after = 0, 0, (name, "")
        while page := [
            row for row in await self.catalogue.page(tenant, name, "", after, PAGE) if row.collection == name
        ]:
            after = page[-1].key[1:]
            gone += await self.ingest.drop(tenant, name, [row.document_id for row in page])
        after = (name, "")
        while waiting := [
            one for one in await self.catalogue.parked(tenant, name, after, PAGE) if one.collection == name
        ]:
            after = waiting[-1].key[1:]
            bad += await self.catalogue.unpark([one.key for one in waiting])
        known = await self.catalogue.drop_collection(tenant, name)
        return bool(known or gone or bad), gone
