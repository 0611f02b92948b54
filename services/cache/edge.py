"""Qdrant's own engine in this process, behind what memory can answer faster.

A scope of up to [SMALL][] entries is searched exactly in numpy: its rows are read from the shard once and kept. Larger
scopes are searched by the shard, in a thread. What is stored is found at once and written to the shard in groups. One
process a shard: a second is refused by its lock.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import qdrant_edge as q

from services.cache.payload import DIMENSIONS, numbers, read, written
from services.cache.store import Entry, Selection, Vector
from services.runtime import folders
from services.runtime.background import in_thread

log = logging.getLogger(__name__)
T = TypeVar("T")

SMALL = 10_000
MOST_SCOPES = 4096
MOST_ENTRIES = 20_000
INDEXED = ("tenant", "scope", "tags", "model")
FLUSH_EVERY_S = 5.0
GROUP_S = 0.1
"""How long what is stored may wait for others to share a write: so much a crash can lose."""
LONGEST_GROUP = 500
MOST_WAITING = 10_000
"""What waits for a disk that takes nothing: past that the oldest are given up."""
SCROLL = 20_000
FIRST_ROWS = 64
WORDS = DIMENSIONS // 64
CROWD, CHOSEN = 1024, 128
MOST_ROWS = 200_000
"""Of all scopes together, 200 MB: past that the scope asked longest ago is read from the shard again."""


class _Scope:
    """Rows of one scope in memory, and the signs of their numbers. `small` is False for a scope too large to keep.

    In a crowd the signs choose who is compared: 32 bytes a row are read instead of 1,024. On real questions the nearest
    was among the [CHOSEN][] of most equal signs 998 times in 1,000 or more.
    """

    def __init__(self, ids: Sequence[str], rows: Vector) -> None:
        self.small = len(ids) <= SMALL
        self._place = {one: n for n, one in enumerate(ids)} if self.small else {}
        self._ids = list(ids) if self.small else []
        self._rows = rows if self.small else rows[:0]
        self._signs = np.ascontiguousarray(_signs(self._rows).T)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, entry: Entry) -> None:
        if not self.small:
            return
        assert entry.vector is not None
        place = self._place.setdefault(entry.id, len(self._ids))
        if place == len(self._ids):
            self._ids.append(entry.id)
            if place == len(self._rows):  # doubles, so that a row costs the same however many there are
                more = max(place, FIRST_ROWS)
                self._rows = np.concatenate([self._rows, np.zeros((more, DIMENSIONS), np.float32)])
                self._signs = np.concatenate([self._signs, np.zeros((WORDS, more), np.uint64)], axis=1)
        self._rows[place] = entry.vector
        self._signs[:, place] = _signs(entry.vector[None])[0]
        if len(self._ids) > SMALL:
            self.small, self._place, self._ids, self._rows = False, {}, [], self._rows[:0]
            self._signs = self._signs[:, :0]

    def nearest(self, vector: Vector, most: int) -> list[tuple[str, float]]:
        count = len(self._ids)
        if count <= CROWD:
            chosen = np.arange(count)
            likeness = self._rows[:count] @ vector
        else:
            own = _signs(vector[None])[0]
            unequal = np.bitwise_count(self._signs[0, :count] ^ own[0])
            for n in range(1, WORDS):
                unequal += np.bitwise_count(self._signs[n, :count] ^ own[n])
            chosen = unequal.argpartition(CHOSEN)[:CHOSEN]
            likeness = self._rows[chosen] @ vector
        best = (-likeness).argsort()[:most]
        return [(self._ids[chosen[n]], float(likeness[n])) for n in best]


def _signs(rows: Vector) -> npt.NDArray[np.uint64]:
    """(n, WORDS): a bit for each number, set where it is above zero."""
    packed: npt.NDArray[np.uint64] = np.packbits(rows > 0, axis=1).view(np.uint64).reshape(len(rows), WORDS)
    return packed


@dataclass(slots=True)
class EdgeStore:
    folder: Path
    key: bytes = field(default=b"", repr=False)
    _shard: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    _scopes: OrderedDict[str, _Scope] = field(default_factory=OrderedDict)
    _pending: dict[str, tuple[Entry, Any]] = field(default_factory=dict)
    """What the shard does not have yet, until it has been written."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _writes: bool = True
    """Whether the last write went well."""
    _old: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    _new: set[int] = field(default_factory=set)
    """With `_old` a digest of every id there is: what is in neither is not worth a look at the shard."""

    def open(self) -> None:
        """Opens the shard, or makes it. Called once, before anything else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()):
            self._shard = q.EdgeShard.load(str(self.folder))
            folders.reading_ahead(self.folder)
            self._old = np.sort(np.fromiter(map(_digest, self._ids()), np.uint64))
            return
        vectors = q.EdgeVectorParams(size=DIMENSIONS, distance=q.Distance.Cosine)
        self._shard = q.EdgeShard.create(str(self.folder), q.EdgeConfig(vectors=vectors))
        for name in INDEXED:
            self._shard.update(q.UpdateOperation.create_field_index(name, q.PayloadSchemaType.Keyword))

    def close(self) -> None:
        if self._pending:
            self._write(self._pending)
        self._shard.flush()
        self._shard.close()

    async def get(self, entry_id: str) -> Entry | None:
        if (known := self._entries.get(entry_id)) is not None:
            self._entries.move_to_end(entry_id)
            return known
        return await self._read(entry_id) if self._may_hold(entry_id) else None

    async def nearest(self, scope: str, vector: Vector, most: int) -> Sequence[tuple[Entry, float]]:
        known = self._scopes.get(scope)
        if known is None:
            known = await self._loaded(scope)
        self._scopes.move_to_end(scope)
        if not known.small:
            return await self._searched(scope, vector, most)
        found = [(await self.get(one), likeness) for one, likeness in known.nearest(vector, most)]
        return [(entry, likeness) for entry, likeness in found if entry is not None]

    async def put(self, entry: Entry) -> None:
        """Found from here on; the shard follows."""
        self._keep(entry)
        self._new.add(_digest(entry.id))
        scope = self._scopes.get(entry.scope)
        if entry.vector is not None and scope is not None:
            scope.add(entry)
        # Made here, not in the thread that writes: there, each short native call would hand the GIL to and fro.
        self._pending[entry.id] = (entry, _point(entry, self.key))
        if len(self._pending) > MOST_WAITING:
            del self._pending[next(iter(self._pending))]
        self._wake.set()
        if len(self._pending) >= LONGEST_GROUP and self._writes:
            await self._tried()

    async def drop(self, selection: Selection) -> int:
        must = [q.FieldCondition("tenant", match=q.MatchValue(selection.tenant))]
        if selection.tag:
            must.append(q.FieldCondition("tags", match=q.MatchValue(selection.tag)))
        if selection.model:
            must.append(q.FieldCondition("model", match=q.MatchValue(selection.model)))
        if selection.stored_before:
            must.append(q.FieldCondition("stored", range=q.RangeFloat(lt=selection.stored_before)))
        chosen = q.Filter(must=must)  # type: ignore[arg-type]

        await self._written()

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
        await self._written()
        await self._aside(lambda: self._shard.update(q.UpdateOperation.delete_points(list(ids))))
        for one in ids:
            self._entries.pop(one, None)
        self._scopes.clear()

    async def oldest(self, most: int) -> Sequence[Entry]:
        await self._written()
        request = q.ScrollRequest(limit=most, with_payload=True, with_vector=True)
        records = await self._aside(lambda: self._shard.scroll(request)[0])
        found = [read(str(one.id), one.payload, one.vector, self.key) for one in records]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.stored)

    async def count(self) -> int:
        await self._written()
        return int(await self._aside(lambda: self._shard.count(q.CountRequest(exact=False))))

    async def run(self) -> None:
        """Writes what was stored, in groups, until cancelled."""
        loop = asyncio.get_running_loop()
        flushed = loop.time()
        while True:
            await self._wake.wait()
            await asyncio.sleep(GROUP_S if self._writes else FLUSH_EVERY_S)
            due = loop.time() - flushed > FLUSH_EVERY_S
            if await self._tried(flushes=due) and due:
                flushed = loop.time()

    async def _tried(self, *, flushes: bool = False) -> bool:
        """Writes what waits, for nobody who could do anything about an engine that fails: then it waits for the next time."""
        try:
            await self._written()
            if flushes:
                await self._aside(self._shard.flush)
        except Exception as error:  # noqa: BLE001 - the engine fails with no other
            log.warning("answers were not written to %s: %s", self.folder, error)
            self._writes = False
        else:
            self._writes = True
        return self._writes

    async def _written(self) -> None:
        self._wake.clear()
        async with self._lock:
            group = dict(self._pending)
            if not group:
                return
            try:
                await in_thread(lambda: self._write(group))
            except Exception:
                self._wake.set()
                raise
        for name, one in group.items():
            if self._pending.get(name) is one:
                del self._pending[name]

    def _write(self, group: Mapping[str, tuple[Entry, Any]]) -> None:
        self._shard.update(q.UpdateOperation.upsert_points([point for _, point in group.values()]))

    def _ids(self) -> Iterator[str]:
        """Of all entries in the shard."""
        after = None
        while True:
            request = q.ScrollRequest(limit=SCROLL, offset=after, with_payload=False, with_vector=False)
            records, after = self._shard.scroll(request)
            yield from (str(one.id) for one in records)
            if after is None:
                return

    def _may_hold(self, entry_id: str) -> bool:
        digest = _digest(entry_id)
        if digest in self._new:
            return True
        place = int(np.searchsorted(self._old, np.uint64(digest)))
        return place < len(self._old) and int(self._old[place]) == digest

    async def _read(self, entry_id: str) -> Entry | None:
        if self._lock.locked():
            records = await self._aside(lambda: self._shard.retrieve([entry_id], True, True))
        else:  # one point is read in less time than a thread takes to be asked, and nobody else is at the shard
            records = self._shard.retrieve([entry_id], True, True)
        entry = read(entry_id, records[0].payload, records[0].vector, self.key) if records else None
        if entry is not None:
            self._keep(entry)
        return entry

    async def _loaded(self, scope: str) -> _Scope:
        await self._tried()
        chosen = q.Filter(must=[q.FieldCondition("scope", match=q.MatchValue(scope))])
        request = q.ScrollRequest(limit=SMALL + 1, filter=chosen, with_payload=False, with_vector=True)
        records = await self._aside(lambda: self._shard.scroll(request)[0])
        rows = np.array([one.vector for one in records], np.float32).reshape(-1, DIMENSIONS)
        made = self._scopes.get(scope)
        if made is None:
            made = self._scopes[scope] = _Scope([str(one.id) for one in records], rows)
            for entry, _ in self._pending.values():  # stored while the shard was read
                if entry.scope == scope and entry.vector is not None:
                    made.add(entry)
        while len(self._scopes) > MOST_SCOPES or (
            len(self._scopes) > 1 and sum(map(len, self._scopes.values())) > MOST_ROWS
        ):
            self._scopes.popitem(last=False)
        return made

    async def _searched(self, scope: str, vector: Vector, most: int) -> Sequence[tuple[Entry, float]]:
        await self._tried()
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
        """The shard is blocking and takes one caller at a time, also when that one has left meanwhile."""
        async with self._lock:
            return await in_thread(work)


def _point(entry: Entry, key: bytes) -> q.Point:
    return q.Point(entry.id, numbers(entry), written(entry, key))


def _digest(entry_id: str) -> int:
    """64 of an id's 128 bits: ids are hashes already."""
    return int(entry_id.replace("-", "")[:16], 16)
