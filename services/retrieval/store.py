"""Where passages are kept and searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt

from services.retrieval.where import Where, holds
from services.runtime.errors import Failure, Kind

Vector = npt.NDArray[np.float32]
SPACE = UUID("9f0a4be1-6a2e-4f0e-8d0b-2f9d1c7c5a11")
EVERYBODY = "*"


class StoreAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "STORE_AWAY"
    text = "the store of passages does not answer"


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a document as it is kept."""

    id: str
    tenant: str
    collection: str
    document_id: str
    version: str
    title: str
    uri: str
    text: str
    header: str
    start: int
    end: int
    digest: str
    readers: tuple[str, ...]
    """Groups that may read it; `*` for everybody."""
    attributes: Mapping[str, str]
    indexed: float
    static: Vector
    """(256,)"""
    dense: Vector | None = None
    """Of unit length, once the dense model has followed; searches leave vectors out."""
    ordinal: int = 0
    """Its place in the document."""
    followed: bool = False
    """Whether it has."""

    @property
    def searched(self) -> str:
        return f"{self.header}\n{self.text}" if self.header else self.text


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may see: the one neutral filter that each engine renders."""

    tenant: str
    collection: str = ""
    readers: tuple[str, ...] = (EVERYBODY,)
    where: tuple[Where, ...] = ()
    """What must hold of the facts, all of it."""

    def holds(self, one: Passage) -> bool:
        return (
            one.tenant == self.tenant
            and (not self.collection or one.collection == self.collection)
            and not set(one.readers).isdisjoint(self.readers)
            and all(holds(fact, one.attributes) for fact in self.where)
        )


@dataclass(frozen=True, slots=True)
class Question:
    """A query in every form that is searched; an absent vector, or no text, is not.

    Beside a dense vector the static one finds only what the dense model has not reached: for all else it would but disturb.
    """

    text: str
    static: Vector | None
    dense: Vector | None


class Hit(NamedTuple):
    """A passage that one way of searching found, with that way's own score."""

    id: str
    score: float
    passage: Passage | None = None
    """Where the engine gives it along; [Store.passages][] has the others."""


Found = Mapping[str, Sequence[Hit]]
"""By way of searching, `bm25`, `static` or `dense`, best first."""


def passage_id(tenant: str, collection: str, document_id: str, version: str, ordinal: int) -> str:
    """Each version has passages of its own, so that two can stand in an engine while one counts."""
    return str(uuid5(SPACE, "\0".join((tenant, collection, document_id, version, str(ordinal)))))


class Store(Protocol):
    """All of it raises [StoreAway][] when the engine does not answer."""

    @property
    def ways(self) -> frozenset[str]:
        """What it can search by, of `bm25`, `static` and `dense`."""
        ...

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]: ...

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        """Makes `passages`, all of one version, the document's only ones; a search sees all the old or all the new."""
        ...

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        """Removes documents; how many there were."""
        ...

    async def add_dense(self, tenant: str, vectors: Mapping[str, Vector]) -> None:
        """Adds dense vectors by passage id; ids that are gone are passed over."""
        ...

    async def without_dense(self, most: int) -> Sequence[Passage]:
        """Passages that have no dense vector yet."""
        ...

    async def passages(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Passage]:
        """Passages of a tenant that are still there, without vectors."""
        ...

    async def dense_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Vector]:
        """The dense vectors of a tenant's passages that have one."""
        ...

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        """Passages of the same document at most so many places away, itself too, in order."""
        ...

    async def search(self, question: Question, scope: Scope, most: int) -> Found: ...

    async def drop(self) -> None:
        """Takes everything away, for good."""
        ...
