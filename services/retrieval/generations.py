"""Which vectors are searched, and which are being built beside them: a store and an embedding model make a generation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.retrieval.documents import Key
from services.retrieval.encoding import Encoding
from services.retrieval.store import Found, Passage, Question, Scope, Store, Vector


@dataclass(frozen=True, slots=True)
class Generation:
    name: str
    store: Store
    encoding: Encoding


@dataclass(slots=True)
class Generations:
    """What ingest and search ask of a store: reads are the active generation's, changes go to all that are kept up.

    The one that is built is changed first: what fails there leaves the active one as it was, and is tried again as a whole.
    """

    active: Generation
    other: Generation | None = None
    """Built to be active, or left a moment ago."""

    @property
    def ways(self) -> frozenset[str]:
        return self.active.store.ways

    @property
    def every(self) -> list[Generation]:
        return [self.other, self.active] if self.other is not None else [self.active]

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]:
        return await self.active.store.of_document(tenant, collection, document_id)

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        active, other = self.active, self.other  # as they are now: a switch meanwhile must not leave one of them out
        if other is not None:
            await other.store.replace(tenant, collection, document_id, list(map(_bare, passages)))
        await active.store.replace(tenant, collection, document_id, passages)

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        active, other = self.active, self.other
        if other is not None:
            await other.store.remove(tenant, collection, document_ids)
        return await active.store.remove(tenant, collection, document_ids)

    async def passages(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Passage]:
        return await self.active.store.passages(tenant, ids)

    async def dense_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Vector]:
        return await self.active.store.dense_of(tenant, ids)

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        return await self.active.store.around(passage, most)

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        return await self.active.store.search(question, scope, most)


async def copied(source: Store, target: Store, key: Key, *, newer: bool = False) -> bool:
    """Brings a document of `target` up to what `source` has of it; whether there was anything to do.

    With `newer`, a version of `target` that came in after the one of `source` stays.
    """
    here, there = await source.of_document(*key), await target.of_document(*key)
    if not here or (there and (there[0].version, len(there)) == (here[0].version, len(here))):
        return False
    if newer and there and there[0].version != here[0].version and there[0].indexed >= here[0].indexed:
        return False
    await target.replace(*key, list(map(_bare, here)))
    return True


def _bare(one: Passage) -> Passage:
    """Without the vector of a model that may not be the other generation's."""
    return replace(one, dense=None, followed=False)
