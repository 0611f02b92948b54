"""Qdrant's own engine in this process. What is small and often asked is answered from memory beside it.

A scope of up to [SMALL][] entries is searched exactly in numpy: its rows are read from the shard once and kept.
Larger scopes are searched by the shard, in a thread. One process a shard: a second is refused by its lock.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as q

from services.cache.payload import DIMENSIONS, EMPTY, read, written
from services.cache.store import Entry, Selection, Vector

log = logging.getLogger(__name__)
T = TypeVar("T")

SMALL = 2000
MOST_SCOPES = 4096
MOST_ENTRIES = 20_000
INDEXED = ("tenant", "scope", "tags", "model")
FLUSH_EVERY_S = 5.0


@dataclass(slots=True)
class _Scope:
    """Rows of one scope in memory; `ids` is None for a scope too large to keep."""

    ids: list[str] | None
    rows: Vector

    def add(self, entry: Entry) -> None:
        assert self.ids is not None and entry.vector is not None
        if entry.id in self.ids:
            self.rows[self.ids.index(entry.id)] = entry.vector
        else:
            self.ids.append(entry.id)
            self.rows = np.concatenate([self.rows, entry.vector[None]])


@dataclass(slots=True)
class EdgeStore:
    folder: Path
    key: bytes = field(default=b"", repr=False)
    _shard: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    _scopes: OrderedDict[str, _Scope] = field(default_factory=OrderedDict)

    def open(self) -> None:
        """Opens the shard, or makes it. Called once, before anything else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()):
            self._shard = q.EdgeShard.load(str(self.folder))
            return
        vectors = q.EdgeVectorParams(size=DIMENSIONS, distance=q.Distance.Cosine)
        self._shard = q.EdgeShard.create(str(self.folder), q.EdgeConfig(vectors=vectors))
        for name in INDEXED:
            self._shard.update(q.UpdateOperation.create_field_index(name, q.PayloadSchemaType.Keyword))

    def close(self) -> None:
        self._shard.flush()
        self._shard.close()

    async def get(self, entry_id: str) -> Entry | None:
        if (known := self._entries.get(entry_id)) is not None:
            self._entries.move_to_end(entry_id)
            return known
        return await self._read(entry_id)

    async def nearest(self, scope: str, vector: Vector, most: int) -> Sequence[tuple[Entry, float]]:
        known = self._scopes.get(scope)
        if known is None:
            known = await self._loaded(scope)
        self._scopes.move_to_end(scope)
        if known.ids is None:
            return await self._searched(scope, vector, most)
        if not known.ids:
            return ()
        likeness = known.rows @ vector
        best = np.argsort(-likeness)[:most]
        found = [(await self.get(known.ids[n]), float(likeness[n])) for n in best]
        return [(entry, score) for entry, score in found if entry is not None]

    async def put(self, entry: Entry) -> None:
        vector = EMPTY if entry.vector is None else entry.vector.tolist()
        point = q.Point(entry.id, vector, written(entry, self.key))
        self._keep(entry)  # found from here on; the shard follows
        scope = self._scopes.get(entry.scope)
        if entry.vector is not None and scope is not None and scope.ids is not None:
            scope.add(entry)
            if len(scope.ids) > SMALL:
                self._scopes[entry.scope] = _Scope(None, np.zeros((0, DIMENSIONS), np.float32))
        await self._aside(lambda: self._shard.update(q.UpdateOperation.upsert_points([point])))

    async def drop(self, selection: Selection) -> int:
        must = [q.FieldCondition("tenant", match=q.MatchValue(selection.tenant))]
        if selection.tag:
            must.append(q.FieldCondition("tags", match=q.MatchValue(selection.tag)))
        if selection.model:
            must.append(q.FieldCondition("model", match=q.MatchValue(selection.model)))
        if selection.stored_before:
            must.append(q.FieldCondition("stored", range=q.RangeFloat(lt=selection.stored_before)))
        chosen = q.Filter(must=must)  # type: ignore[arg-type]

        def work() -> int:
            gone = int(self._shard.count(q.CountRequest(filter=chosen)))
            self._shard.update(q.UpdateOperation.delete_points_by_filter(chosen))
            return gone

        gone = await self._aside(work)
        for entry in [one for one in self._entries.values() if selection.holds(one)]:
            del self._entries[entry.id]
        self._scopes.clear()
        return gone

    async def remove(self, ids: Sequence[str]) -> None:
        await self._aside(lambda: self._shard.update(q.UpdateOperation.delete_points(list(ids))))
        for one in ids:
            self._entries.pop(one, None)
        self._scopes.clear()

    async def oldest(self, most: int) -> Sequence[Entry]:
        request = q.ScrollRequest(limit=most, with_payload=True, with_vector=True)
        records = await self._aside(lambda: self._shard.scroll(request)[0])
        found = [read(str(one.id), one.payload, one.vector, self.key) for one in records]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.stored)

    async def count(self) -> int:
        return int(await self._aside(lambda: self._shard.count(q.CountRequest(exact=False))))

    async def run(self) -> None:
        """Writes to disk now and then, and indexes what has grown, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self._aside(self._shard.flush)

    async def _read(self, entry_id: str) -> Entry | None:
        records = await self._aside(lambda: self._shard.retrieve([entry_id], True, True))
        entry = read(entry_id, records[0].payload, records[0].vector, self.key) if records else None
        if entry is not None:
            self._keep(entry)
        return entry

    async def _loaded(self, scope: str) -> _Scope:
        chosen = q.Filter(must=[q.FieldCondition("scope", match=q.MatchValue(scope))])
        request = q.ScrollRequest(limit=SMALL + 1, filter=chosen, with_payload=False, with_vector=True)
        records = await self._aside(lambda: self._shard.scroll(request)[0])
        large = len(records) > SMALL
        rows = np.array([one.vector for one in records], np.float32).reshape(-1, DIMENSIONS)
        made = _Scope(None if large else [str(one.id) for one in records], rows[:0] if large else rows)
        made = self._scopes.setdefault(scope, made)  # a put may have come between
        while len(self._scopes) > MOST_SCOPES:
            self._scopes.popitem(last=False)
        return made

    async def _searched(self, scope: str, vector: Vector, most: int) -> Sequence[tuple[Entry, float]]:
        request = q.QueryRequest(
            limit=most,
            query=q.Query.Nearest(vector.tolist()),
            filter=q.Filter(must=[q.FieldCondition("scope", match=q.MatchValue(scope))]),
            with_payload=True,
            with_vector=True,
        )
        points = await self._aside(lambda: self._shard.query(request))
        found = [(read(str(one.id), one.payload, one.vector, self.key), float(one.score)) for one in points]
        return [(entry, score) for entry, score in found if entry is not None]

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._entries.move_to_end(entry.id)
        while len(self._entries) > MOST_ENTRIES:
            self._entries.popitem(last=False)

    async def _aside(self, work: Callable[[], T]) -> T:
        """The shard is blocking and takes one caller at a time."""
        async with self._lock:
            return await asyncio.to_thread(work)
