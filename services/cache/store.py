"""Where answers are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from services.runtime.errors import Failure, Kind

Vector = npt.NDArray[np.float32]
SUBJECT = "tollway.subject/"
"""Begins the tag by which the answers of an end user are found: their digest follows."""


class StoreAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "STORE_AWAY"
    text = "the cache's store does not answer"


class Entry(Struct, frozen=True):
    """A stored answer. Times are seconds since the epoch."""

    id: str
    tenant: str
    scope: str
    exact: str
    text: str
    vector: Vector | None
    """(256,) static vector of `text`; without one the entry is found by the same request alone."""
    completion: bytes
    model: str
    tags: tuple[str, ...]
    stored: float
    expires: float
    cost: int = 0
    took_s: float = 0.0
    attached: bytes = b""
    """What the caller keeps beside the answer."""
    right: int = 0
    wrong: int = 0
    answer: str = ""
    """Digest of what the answer says: entries that say the same are no rivals."""

    def judged(self, right: bool) -> "Entry":
        return replace(self, right=self.right + right, wrong=self.wrong + (not right))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries of a tenant to drop; conditions add up."""

    tenant: str
    tag: str = ""
    model: str = ""
    stored_before: float = 0.0

    def holds(self, entry: Entry) -> bool:
        return (
            entry.tenant == self.tenant
            and (not self.tag or self.tag in entry.tags)
            and (not self.model or entry.model == self.model)
            and (not self.stored_before or entry.stored < self.stored_before)
        )


def subject_tag(subject: str) -> str:
    """The tag of an end user's entries; '' for nobody."""
    return f"{SUBJECT}{subject}" if subject else ""


def tagged(tags: Iterable[str], subject: str) -> tuple[str, ...]:
    """`tags` of an entry that `subject` asked for, '' for nobody, and of nobody else."""
    others = tuple(one for one in tags if not one.startswith(SUBJECT))
    return (*others, subject_tag(subject)) if subject else others


def entry_id(exact: str) -> str:
    """The same request replaces its own entry: `exact` is a hash, and half of it makes an id that engines take."""
    return f"{exact[:8]}-{exact[8:12]}-{exact[12:16]}-{exact[16:20]}-{exact[20:32]}"


class Hopeful(Protocol):
    sought: Sequence[int]
    """Masks: what is worth to be read has a mark that holds one of them whole. () where any may."""

    def __call__(self, near: Sequence[tuple[bytes, float]]) -> bool:
        """Whether any of some entries, each by its text's form and about its cosine, is worth to be read."""
        ...


class Store(Protocol):
    """All of it raises [StoreAway][] when the engine does not answer."""

    async def get(self, entry_id: str) -> Entry | None: ...

    async def nearest(
        self, scope: str, vector: Vector, most: int, least: float, hopes: Hopeful | None = None
    ) -> Sequence[tuple[Entry, float]]:
        """Up to `most` entries of `scope` whose cosine is `least` or more, best first. None where `hopes` are dashed, in a store that asks."""
        ...

    async def put(self, entry: Entry) -> None:
        """Keeps an entry; one of the same id is replaced. Durable when it returns, where the engine is."""
        ...

    async def drop(self, selection: Selection) -> int:
        """Drops entries; how many."""
        ...

    async def remove(self, ids: Sequence[str]) -> None: ...

    async def oldest(self, most: int) -> Sequence[Entry]:
        """Those stored longest ago, the oldest first; without their vectors."""
        ...

    async def count(self) -> int: ...
