"""What a vector database must do to hold passages, and how its single changes become changes of whole documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.retrieval.catalogue import Heads
from services.retrieval.documents import Key
from services.retrieval.store import Found, Passage, Question, Scope, Vector


class Engine(Protocol):
    """All of it raises [StoreAway][services.retrieval.store.StoreAway] when the database does not answer."""

    @property
    def ways(self) -> frozenset[str]: ...

    async def of_document(self, key: Key, *, between: tuple[int, int] | None = None) -> Sequence[Passage]:
        """Every passage of every version, with vectors; or those with ordinals from one number to another."""
        ...

    async def put(self, passages: Sequence[Passage]) -> None:
        """Adds passages. They can be searched when it returns."""
        ...

    async def prune(self, key: Key, version: str) -> None:
        """Removes the document's passages of all versions but one; of all, when it is empty."""
        ...

    async def add_dense(self, vectors: Mapping[str, Vector]) -> None: ...

    async def without_dense(self, most: int) -> Sequence[Passage]: ...

    async def passages(self, ids: Sequence[str]) -> Mapping[str, Passage]: ...

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]: ...

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        """Every hit with its passage."""
        ...

    async def drop(self) -> None:
        """Takes everything away, for good."""
        ...


@dataclass(slots=True)
class Snapshot:
    """A [Store][services.retrieval.store.Store] over an engine that knows no transactions.

    A document's new passages are put beside the old, the catalogue then points at the new version, and the old are removed.
    A search leaves out what the catalogue does not point at, so it sees one whole version or the other, whatever is killed
    in between; what is left over goes with the document's next change.
    """

    engine: Engine
    heads: Heads

    @property
    def ways(self) -> frozenset[str]:
        return self.engine.ways

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]:
        return await self._counting(await self.engine.of_document((tenant, collection, document_id)))

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        key = (tenant, collection, document_id)
        async with self.heads.alone(key):
            await self.engine.put(passages)
            await self.heads.point(key, passages[0].version)
            await self.engine.prune(key, passages[0].version)

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        keys = [(tenant, collection, one) for one in set(document_ids)]
        gone = await self.heads.forget(keys)  # no search sees them from here on
        for key in keys:
            async with self.heads.alone(key):
                if not await self.heads.versions([key]):  # nobody has brought it again meanwhile
                    await self.engine.prune(key, "")
        return gone

    async def add_dense(self, tenant: str, vectors: Mapping[str, Vector]) -> None:
        await self.engine.add_dense(vectors)

    async def without_dense(self, most: int) -> Sequence[Passage]:
        return await self.engine.without_dense(most)

    async def dense_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Vector]:
        return await self.engine.dense_of(ids)

    async def passages(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Passage]:
        found = await self.engine.passages(ids)
        own = [one for one in found.values() if one.tenant == tenant]
        return {one.id: one for one in await self._counting(own)}

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        key = (passage.tenant, passage.collection, passage.document_id)
        between = (passage.ordinal - most, passage.ordinal + most)
        found = [one for one in await self.engine.of_document(key, between=between) if one.version == passage.version]
        return sorted(found, key=lambda one: one.ordinal)

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        found = await self.engine.search(question, scope, most)
        every = {hit.id: hit.passage for listed in found.values() for hit in listed if hit.passage is not None}
        counting = {one.id for one in await self._counting(list(every.values()))}
        return {way: [hit for hit in listed if hit.id in counting] for way, listed in found.items()}

    async def drop(self) -> None:
        await self.engine.drop()

    async def _counting(self, passages: Sequence[Passage]) -> Sequence[Passage]:
        heads = await self.heads.versions({_key(one) for one in passages})
        return [one for one in passages if heads.get(_key(one)) == one.version]


def _key(one: Passage) -> Key:
    return one.tenant, one.collection, one.document_id
