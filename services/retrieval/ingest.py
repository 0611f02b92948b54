"""Brings documents in: what is new is encoded, what is known is not; what cannot be read is parked with its reason."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.retrieval.catalogue import Catalogue
from services.retrieval.chunks import LARGEST, Chunk, Shape, chunks, paragraphs
from services.retrieval.documents import SUBJECT, Document, Row
from services.retrieval.encoding import Encoding, Metadata
from services.retrieval.epochs import Epochs
from services.retrieval.formats import Unreadable
from services.retrieval.generations import Generations
from services.retrieval.screening import Screening
from services.retrieval.store import EVERYBODY, Passage, Vector, passage_id
from services.retrieval.topics import turns
from services.retrieval.turns import Turns
from services.runtime.subjects import digest


@dataclass(frozen=True, slots=True)
class Partition:
    """How documents are cut: at most so many tokens a passage, and whether the text's topics are boundaries, too."""

    tokens: int = LARGEST
    topics: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    version: str
    chunks: int
    embedded: int


@dataclass(slots=True)
class Ingest:
    store: Generations
    catalogue: Catalogue
    encoding: Encoding
    epochs: Epochs
    screening: Screening | None = None
    partition: Partition = Partition()
    now: Callable[[], float] = time.time
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there are passages without dense vectors."""
    turns: Turns = field(default_factory=Turns)

    async def bring(
        self, tenant: str, document: Document, shape: Shape = Shape.PLAIN, metadata: Metadata = ()
    ) -> Brought:
        """Makes `document` searchable by its words and static vectors; dense ones follow. All of it or nothing.

        Raises:
            Unreadable: nothing in it can be searched, or policy keeps it out.
            StoreAway
        """
        async with self.turns.of((tenant, document.collection, document.id)):
            if self.screening is not None:
                document = await self.screening.screened(tenant, document, metadata)
            return await self._brought(tenant, document, shape, metadata)

    async def _brought(self, tenant: str, document: Document, shape: Shape, metadata: Metadata) -> Brought:
        generation = self.store.active
        known = await self.store.of_document(tenant, document.collection, document.id)
        version = document.version
        if known and all(one.version == version for one in known):  # a kill may have left some of the version before
            await self._commit(tenant, document, len(known), known[0].indexed)
            return Brought(version, len(known), 0)
        cut = chunks(
            document.text, document.title, shape,
            largest=self.partition.tokens, apart=await self._topics(document.text, shape, metadata),
        )  # fmt: skip
        if not cut:
            raise Unreadable("the text is empty")
        by_digest = {one.digest: one for one in known}
        fresh = {one.digest: one.searched for one in cut if one.digest not in by_digest}
        vectors = dict(zip(fresh, await self.encoding.static(list(fresh.values()), metadata), strict=True))
        at = self.now()
        made = [
            _passage(tenant, document, version, n, one, at, by_digest.get(one.digest), vectors)
            for n, one in enumerate(cut)
        ]
        if self.store.active is not generation:  # switched meanwhile: the vectors known may be of another model
            return await self._brought(tenant, document, shape, metadata)
        await self.store.replace(tenant, document.collection, document.id, made)
        await self._commit(tenant, document, len(made), at)
        self.wake.set()
        return Brought(version, len(made), len(fresh))

    async def drop(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        """Takes documents away: no search that begins after this finds them."""
        async with self.turns.all_of([(tenant, collection, one) for one in document_ids]):
            return await self._dropped(tenant, collection, document_ids)

    async def _dropped(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        gone = await self.store.remove(tenant, collection, document_ids)
        keys = [(tenant, collection, one) for one in document_ids]
        listed = await self.catalogue.forget(keys)
        await self.catalogue.unpark(keys)
        if gone or listed:
            self.epochs.heard(tenant, await self.catalogue.advance(tenant, collection))
        return max(gone, listed)

    async def _commit(self, tenant: str, document: Document, count: int, at: float) -> None:
        row = Row(
            tenant, document.collection, document.id, document.version, document.title, document.uri, count,
            document.source, document.mark, document.changed, at, digest(tenant, document.attributes.get(SUBJECT, "")),
            json.dumps(dict(document.attributes), sort_keys=True),
        )  # fmt: skip
        self.epochs.heard(tenant, await self.catalogue.commit(row))

    async def _topics(self, text: str, shape: Shape, metadata: Metadata) -> frozenset[int]:
        if not self.partition.topics:
            return frozenset()
        parts = paragraphs(text, shape)
        vectors = await self.encoding.static([text[start:end] for start, end in parts], metadata)
        return frozenset(parts[n][0] for n in turns(np.stack(vectors))) if vectors else frozenset()


def _passage(
    tenant: str, document: Document, version: str, ordinal: int, one: Chunk, at: float, old: Passage | None,
    vectors: dict[str, Vector],
) -> Passage:  # fmt: skip
    return Passage(
        id=passage_id(tenant, document.collection, document.id, version, ordinal),
        tenant=tenant,
        collection=document.collection,
        document_id=document.id,
        version=version,
        title=document.title,
        uri=document.uri,
        text=one.text,
        header=one.header,
        start=one.start,
        end=one.end,
        digest=one.digest,
        readers=document.readers or (EVERYBODY,),
        attributes=document.attributes,
        indexed=at,
        static=old.static if old else vectors[one.digest],
        dense=old.dense if old else None,
        ordinal=ordinal,
        followed=old is not None and old.dense is not None,
    )
