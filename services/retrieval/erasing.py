"""Takes a tenant's documents away, or those about one end user of it."""

from collections import defaultdict
from dataclasses import dataclass

from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.catalogue import Catalogue
from services.retrieval.documents import SUBJECT, Parked
from services.retrieval.ingest import Ingest

PAGE = 500


@dataclass(frozen=True, slots=True)
class Erasing:
    ingest: Ingest
    catalogue: Catalogue

    async def documents(self, tenant: str, subject: str) -> int:
        """Those about `subject`, a digest, or all where it is ''; how many there were.

        Raises:
            StoreAway: some may be gone; the others go when it is called again.
        """
        gone = 0
        while keys := await self.catalogue.about(tenant, subject, PAGE):
            by_collection = defaultdict(list)
            for _, collection, document_id in keys:
                by_collection[collection].append(document_id)
            for collection, ids in by_collection.items():
                gone += await self.ingest.drop(tenant, collection, ids)
        return gone

    async def parked(self, tenant: str, subject: str) -> int:
        """As [documents][], of those that could not be made searchable; `subject` by its name."""
        gone, after = 0, ("", "")
        while page := await self.catalogue.parked(tenant, "", after, PAGE):
            after = page[-1].key[1:]
            gone += await self.catalogue.unpark([one.key for one in page if not subject or _about(one) == subject])
        return gone


def _about(parked: Parked) -> str:
    return str(pb.Document.FromString(parked.raw).attributes.get(SUBJECT, ""))
