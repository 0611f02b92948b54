"""A collection as a whole: kept, told of, and taken away with its documents."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.retrieval.catalogue import Catalogue
from services.retrieval.documents import Collection
from services.retrieval.ingest import Ingest
from services.runtime.errors import Failure, Kind

PAGE = 500


class CollectionUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "COLLECTION_UNKNOWN"
    text = "there is no collection {name}"
    field = "name"


@dataclass(frozen=True, slots=True)
class Collecting:
    ingest: Ingest
    catalogue: Catalogue
    now: Callable[[], float] = time.time

    async def keep(self, tenant: str, name: str, title: str, metadata: Mapping[str, str]) -> Collection:
        labels = json.dumps(dict(metadata), sort_keys=True)
        await self.catalogue.keep_collection(Collection(tenant, name, title, labels, self.now()))
        return await self.known(tenant, name)

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
