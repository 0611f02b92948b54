"""Which documents there are, in which version; which are parked; and the epoch of each tenant's documents.

The store holds passages; the catalogue says which version of a document counts. One that keeps everything in memory is here,
for tests and benchmarks; the other is in [postgres][services.retrieval.postgres].
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from services.retrieval.documents import Collection, Key, Parked, Row

Place = tuple[str, str]
"""Collection and document id: where a page goes on after."""


class Heads(Protocol):
    """The version that counts of each document: what makes a change of many passages one change."""

    async def versions(self, keys: Iterable[Key]) -> Mapping[Key, str]: ...

    async def point(self, key: Key, version: str) -> None: ...

    async def forget(self, keys: Sequence[Key]) -> int:
        """Takes documents away; how many there were."""
        ...

    def alone(self, key: Key) -> AbstractAsyncContextManager[None]:
        """Nobody else, in no replica, changes the document meanwhile."""
        ...


class Catalogue(Heads, Protocol):
    """All of it raises [StoreAway][services.retrieval.store.StoreAway] when the database does not answer."""

    def leading(self, name: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """Waits until no other replica has the name; yields what is set once we may have lost it."""
        ...

    async def commit(self, row: Row) -> int:
        """Keeps `row`, takes the document out of what is parked; the tenant's epoch, new if the version is."""
        ...

    async def changed(self, key: Key) -> float:
        """When the version that is searchable was changed where it comes from; 0 where that is not known."""
        ...

    async def advance(self, tenant: str, collection: str | None = None) -> int:
        """A new epoch of the tenant, and of this collection or else of all."""
        ...

    async def epoch(self, tenant: str) -> int: ...

    async def collection_epoch(self, tenant: str, collection: str) -> int:
        """The tenant's epoch when the collection changed last, or an earlier one where that is not known."""
        ...

    async def marks(self, tenant: str, source: str) -> Mapping[Place, str]:
        """What a source has brought, parked or not, by what it knew the version by."""
        ...

    async def unmark(self, tenant: str, source: str) -> None:
        """Makes all that a source has brought unknown to it."""
        ...

    async def page(self, tenant: str, collection: str, source: str, after: Place, most: int) -> Sequence[Row]: ...

    async def row(self, key: Key) -> Row | None: ...

    async def parked_one(self, key: Key) -> Parked | None: ...

    async def keep_collection(self, one: Collection) -> None:
        """What is known of it anew, or for the first time; counts are not looked at."""
        ...

    async def use(self, tenant: str, name: str, at: float) -> None:
        """Notes that it was used, where it is kept."""
        ...

    async def idle(self, at: float, most: int) -> Sequence[Collection]:
        """Of all tenants, those that nobody has used for too long; counts are not told."""
        ...

    async def collections(self, tenant: str, after: str, most: int) -> Sequence[Collection]:
        """By name, those that only have documents, too; from the first where `after` is ''."""
        ...

    async def collection(self, tenant: str, name: str) -> Collection | None: ...

    async def drop_collection(self, tenant: str, name: str) -> bool:
        """Forgets what is known of it, its documents left alone; whether something was."""
        ...

    async def keys(self, after: Key, most: int) -> Sequence[Key]:
        """Documents of all tenants, in order."""
        ...

    async def about(self, tenant: str, subject: str, most: int) -> Sequence[Key]:
        """Some documents about `subject`, a digest; some of all where it is ''."""
        ...

    async def clear(self, tenant: str) -> None:
        """Forgets what is known of the tenant beside its documents, its epochs left alone."""
        ...

    async def sample(self, most: int) -> Sequence[Key]:
        """Some documents of all tenants, by chance."""
        ...

    async def total(self) -> int:
        """How many documents there are of all tenants."""
        ...

    async def park(self, parked: Parked) -> None:
        """Keeps a document that could not be read; of one that is parked already, it counts the try."""
        ...

    async def parked(self, tenant: str, collection: str, after: Place, most: int) -> Sequence[Parked]: ...

    async def unpark(self, keys: Sequence[Key]) -> int: ...

    async def counts(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        """Searchable and parked documents by source."""
        ...

    async def arrived(self, tenant: str, source: str, changes: int, in_time: int) -> None:
        """Counts changes that a source brought."""
        ...

    async def arrivals(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        """Changes, and those in time, by source."""
        ...

    async def evaluated(self, tenant: str, name: str, at: float, scores: Mapping[str, Any]) -> None:
        """Keeps a run of questions."""
        ...

    async def last_evaluation(self, tenant: str, name: str) -> tuple[float, Mapping[str, Any]] | None: ...


def later(epoch: int) -> int:
    return max(epoch + 1, int(time.time() * 1e6))


@dataclass(slots=True)
class MemoryCatalogue:
    rows: dict[Key, Row] = field(default_factory=dict)
    waiting: dict[Key, Parked] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)
    _changed: dict[tuple[str, str | None], int] = field(default_factory=dict)
    """By tenant and collection; None for all."""
    _locks: defaultdict[Key, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _arrived: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _runs: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = field(default_factory=dict)
    _collections: dict[tuple[str, str], Collection] = field(default_factory=dict)

    async def versions(self, keys: Iterable[Key]) -> Mapping[Key, str]:
        return {key: self.rows[key].version for key in keys if key in self.rows}

    async def point(self, key: Key, version: str) -> None:
        known = self.rows.get(key)
        if known is None or known.version != version:
            self.rows[key] = replace(known or Row(*key, version), version=version, mark="", indexed=0.0)

    async def forget(self, keys: Sequence[Key]) -> int:
        return sum(self.rows.pop(key, None) is not None for key in set(keys))

    @asynccontextmanager
    async def alone(self, key: Key) -> AsyncIterator[None]:
        async with self._locks[key]:
            yield

    @asynccontextmanager
    async def leading(self, name: str) -> AsyncIterator[asyncio.Event]:
        async with self._locks["", "", name]:
            yield asyncio.Event()

    async def commit(self, row: Row) -> int:
        known = self.rows.get(row.key)
        self.rows[row.key] = row
        self.waiting.pop(row.key, None)
        if known is None or known.version != row.version or not known.indexed:
            return await self.advance(row.tenant, row.collection)
        return await self.epoch(row.tenant)

    async def changed(self, key: Key) -> float:
        return self.rows[key].changed if key in self.rows else 0.0

    async def advance(self, tenant: str, collection: str | None = None) -> int:
        self._epochs[tenant] = self._changed[tenant, collection] = made = later(await self.epoch(tenant))
        return made

    async def epoch(self, tenant: str) -> int:
        if tenant not in self._epochs:
            self._epochs[tenant] = self._changed[tenant, None] = later(0)
        return self._epochs[tenant]

    async def collection_epoch(self, tenant: str, collection: str) -> int:
        await self.epoch(tenant)
        return max(self._changed.get((tenant, one), 0) for one in (collection, None))

    async def marks(self, tenant: str, source: str) -> Mapping[Place, str]:
        kept: list[Row | Parked] = [*self.rows.values(), *self.waiting.values()]
        return {one.key[1:]: one.mark for one in kept if (one.tenant, one.source) == (tenant, source)}

    async def unmark(self, tenant: str, source: str) -> None:
        for key, row in self.rows.items():
            if (row.tenant, row.source) == (tenant, source):
                self.rows[key] = replace(row, mark="")
        for key, one in self.waiting.items():
            if (one.tenant, one.source) == (tenant, source):
                self.waiting[key] = replace(one, mark="")

    async def page(self, tenant: str, collection: str, source: str, after: Place, most: int) -> Sequence[Row]:
        found = [
            row for _, row in sorted(self.rows.items())
            if row.tenant == tenant and collection in ("", row.collection) and source in ("", row.source)
        ]  # fmt: skip
        return [row for row in found if row.key[1:] > after][:most]

    async def row(self, key: Key) -> Row | None:
        return self.rows.get(key)

    async def parked_one(self, key: Key) -> Parked | None:
        return self.waiting.get(key)

    async def keep_collection(self, one: Collection) -> None:
        known = self._collections.get((one.tenant, one.name))
        self._collections[one.tenant, one.name] = replace(one, created=known.created if known else one.created)

    async def use(self, tenant: str, name: str, at: float) -> None:
        if (known := self._collections.get((tenant, name))) is not None:
            self._collections[tenant, name] = replace(known, used=max(known.used, at))

    async def idle(self, at: float, most: int) -> Sequence[Collection]:
        over = (one for one in self._collections.values() if one.idle_s and one.used + one.idle_s <= at)
        return sorted(over, key=lambda one: one.used)[:most]

    async def collections(self, tenant: str, after: str, most: int) -> Sequence[Collection]:
        kept: list[Row | Parked] = [*self.rows.values(), *self.waiting.values()]
        names = {one.collection for one in kept if one.tenant == tenant}
        names |= {name for whose, name in self._collections if whose == tenant}
        made = [await self.collection(tenant, name) for name in sorted(names) if name > after or not after]
        return [one for one in made if one is not None][:most]

    async def collection(self, tenant: str, name: str) -> Collection | None:
        documents, waiting = (
            sum((one.tenant, one.collection) == (tenant, name) for one in kept)
            for kept in (self.rows.values(), self.waiting.values())
        )
        known = self._collections.get((tenant, name))
        if known is None and not documents and not waiting:
            return None
        return replace(known or Collection(tenant, name), documents=documents, parked=waiting)

    async def drop_collection(self, tenant: str, name: str) -> bool:
        return self._collections.pop((tenant, name), None) is not None

    async def keys(self, after: Key, most: int) -> Sequence[Key]:
        return sorted(key for key in self.rows if key > after)[:most]

    async def about(self, tenant: str, subject: str, most: int) -> Sequence[Key]:
        found = (key for key, row in self.rows.items() if row.tenant == tenant and subject in ("", row.subject))
        return sorted(found)[:most]

    async def clear(self, tenant: str) -> None:
        kept: dict[tuple[str, str], Any]
        for kept in (self._arrived, self._runs, self._collections):
            for one in [one for one in kept if one[0] == tenant]:
                del kept[one]

    async def sample(self, most: int) -> Sequence[Key]:
        return random.sample(sorted(self.rows), min(most, len(self.rows)))

    async def total(self) -> int:
        return len(self.rows)

    async def park(self, parked: Parked) -> None:
        before = self.waiting.get(parked.key)
        self.waiting[parked.key] = replace(parked, tries=(before.tries if before else 0) + 1)

    async def parked(self, tenant: str, collection: str, after: Place, most: int) -> Sequence[Parked]:
        found = [
            one for _, one in sorted(self.waiting.items())
            if one.tenant == tenant and collection in ("", one.collection)
        ]  # fmt: skip
        return [one for one in found if one.key[1:] > after][:most]

    async def unpark(self, keys: Sequence[Key]) -> int:
        return sum(self.waiting.pop(key, None) is not None for key in set(keys))

    async def counts(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        made: dict[str, tuple[int, int]] = {}
        for row in self.rows.values():
            if row.tenant == tenant:
                made[row.source] = (made.get(row.source, (0, 0))[0] + 1, made.get(row.source, (0, 0))[1])
        for one in self.waiting.values():
            if one.tenant == tenant:
                made[one.source] = (made.get(one.source, (0, 0))[0], made.get(one.source, (0, 0))[1] + 1)
        return made

    async def arrived(self, tenant: str, source: str, changes: int, in_time: int) -> None:
        before = self._arrived.get((tenant, source), (0, 0))
        self._arrived[tenant, source] = (before[0] + changes, before[1] + in_time)

    async def arrivals(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        return {source: made for (whose, source), made in self._arrived.items() if whose == tenant}

    async def evaluated(self, tenant: str, name: str, at: float, scores: Mapping[str, Any]) -> None:
        self._runs[tenant, name] = (at, scores)

    async def last_evaluation(self, tenant: str, name: str) -> tuple[float, Mapping[str, Any]] | None:
        return self._runs.get((tenant, name))
