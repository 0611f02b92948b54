"""Qdrant's own engine in this process, behind what memory can answer faster.

The vectors of a scope are read from the shard once, kept, and compared in memory. What is stored is found at once and
written to the shard in groups. One process a shard: a second is refused by its lock.
"""

import asyncio
import logging
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import qdrant_edge as q

from services.cache.forms import form
from services.cache.payload import DIMENSIONS, numbers, read, written
from services.cache.rows import Near, Rows
from services.cache.store import Entry, Hopeful, Selection, Vector
from services.runtime import folders
from services.runtime.background import in_thread

log = logging.getLogger(__name__)
T = TypeVar("T")

NUMBERS = struct.Struct(f"{DIMENSIONS}f")
MOST_SCOPES = 4096
MOST_ENTRIES = 20_000
INDEXED = {
    **dict.fromkeys(("tenant", "scope", "tags", "model"), q.PayloadSchemaType.Keyword),
    "stored": q.PayloadSchemaType.Float,
}
FLUSH_EVERY_S = 5.0
GROUP_S = 0.1
"""How long what is stored may wait for others to share a write: so much a crash can lose."""
LONGEST_GROUP = 500
AT_ONCE = 40
"""Points made in one go, a millisecond or less."""
MOST_WAITING = 10_000
"""What waits for a disk that takes nothing: past that the oldest are given up."""
NO_GRAPH = 1 << 40
"""Kilobytes from which the engine builds a graph: vectors are compared in memory. All it optimises is the room of what has gone."""
SCROLL = 20_000
PAGE = 250
"""Vectors that are read at a time, a millisecond or two: in between others get their turn."""
PATIENCE_S = 0.25
"""How long one look-up reads vectors of a scope that nobody has asked for in a while. What it has not read by then, the next ones do."""
LEARNT, LEARN_EVERY_S = 25, 0.02
"""Texts that are read anew at a time, a millisecond or so, and how often."""
MOST_IN_MEMORY = 500_000
"""Of all scopes together, 250 MB: past that the scope asked longest ago is read from the shard again."""


@dataclass(slots=True)
class _Scope:
    """The vectors of a scope, and how far they have been read from the shard."""

    rows: Rows = field(default_factory=Rows)
    whole: bool = False
    after: Any = None
    """The last point that was read."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class EdgeStore:
    folder: Path
    key: bytes = field(default=b"", repr=False)
    _shard: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    _scopes: OrderedDict[str, _Scope] = field(default_factory=OrderedDict)
    _pending: dict[str, Entry] = field(default_factory=dict)
    """What the shard does not have yet, until it has been written."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _unlearnt: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """Scopes whose rows came from the shard, without the forms of their texts."""
    _writes: bool = True
    """Whether the last write went well."""
    _old: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    _new: set[int] = field(default_factory=set)
    """With `_old` a digest of every id there is: what is in neither is not worth a look at the shard."""

    def open(self) -> None:
        """Opens the shard, or makes it. Called once, before anything else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        vectors = q.EdgeVectorParams(size=DIMENSIONS, distance=q.Distance.Cosine)
        config = q.EdgeConfig(vectors=vectors, optimizers=q.EdgeOptimizersConfig(indexing_threshold=NO_GRAPH))
        if any(self.folder.iterdir()):
            self._shard = q.EdgeShard.load(str(self.folder), config)
            self._shard.optimize()  # stops the process: a good time is now
            folders.reading_ahead(self.folder)
            self._old = np.sort(np.fromiter(map(_digest, self._ids()), np.uint64))
        else:
            self._shard = q.EdgeShard.create(str(self.folder), config)
        for name, kind in INDEXED.items():  # one that is there already stays as it is
            self._shard.update(q.UpdateOperation.create_field_index(name, kind))

    def close(self) -> None:
        if self._pending:
            self._write([_point(entry, self.key) for entry in self._pending.values()])
        self._shard.flush()
        self._shard.close()

    async def get(self, entry_id: str) -> Entry | None:
        return self._all([entry_id]).get(entry_id)

    async def nearest(
        self, scope: str, vector: Vector, most: int, least: float, hopes: Hopeful | None = None
    ) -> Sequence[tuple[Entry, float]]:
        known = self._scopes.get(scope)
        if known is None:
            known = self._opened(scope)
        self._scopes.move_to_end(scope)
        if not known.whole:
            await self._read_on(scope, known)
        if hopes is not None:
            sifted = known.rows.sifted(hopes.sought, vector, most, least)
            if sifted is not None and not _any(sifted, hopes):
                return ()
        rows = known.rows.nearest(vector, most, least)
        if hopes is not None and not _any(rows, hopes):
            return ()
        found = self._all([one.id for one in rows])
        for row in rows:
            if not row.form and row.id in found:  # it was there before this process was
                known.rows.learn(row.id, form(found[row.id].text))
        near = [(one, float(one.vector @ vector)) for one in found.values() if one.vector is not None]
        return sorted((pair for pair in near if pair[1] >= least), key=lambda pair: -pair[1])

    async def put(self, entry: Entry) -> None:
        """Found from here on; the shard follows."""
        self._keep(entry)
        self._new.add(_digest(entry.id))
        scope = self._scopes.get(entry.scope)
        if entry.vector is not None and scope is not None:
            scope.rows.add(entry.id, entry.vector, form(entry.text))
        self._pending[entry.id] = entry
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

        def work() -> list[str]:
            gone = list(self._ids(chosen))
            self._shard.update(q.UpdateOperation.delete_points_by_filter(chosen))
            return gone

        gone = await self._aside(work)
        self._forget(gone)
        return len(gone)

    async def remove(self, ids: Sequence[str]) -> None:
        await self._written()
        await self._aside(lambda: self._shard.update(q.UpdateOperation.delete_points(list(ids))))
        self._forget(ids)

    async def oldest(self, most: int) -> Sequence[Entry]:
        await self._written()
        request = q.ScrollRequest(limit=most, with_payload=True, with_vector=False, order_by=q.OrderBy("stored"))
        records = await self._aside(lambda: self._shard.scroll(request)[0])
        found = [read(str(one.id), one.payload, None, self.key) for one in records]
        return [entry for entry in found if entry is not None]

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

    async def learn(self) -> None:
        """Reads what texts say that were there before this process, a few at a time, until cancelled: as long as nobody knows, a
        look-up reads those that are near."""
        while True:
            scope = await self._unlearnt.get()
            try:
                await self._learn(scope)
            except Exception as error:  # noqa: BLE001 - the engine fails with no other
                log.warning("answers were not read anew from %s: %s", self.folder, error)

    async def _learn(self, scope: str) -> None:
        chosen, after = _of_scope(scope), None
        while (known := self._scopes.get(scope)) is not None:
            request = q.ScrollRequest(after, LEARNT, chosen, with_payload=True, with_vector=False)
            records, after = self._shard.scroll(request)
            for one in records:
                entry = read(str(one.id), one.payload, None, self.key)
                if entry is not None:  # past what `form` remembers: that is for texts that are asked for
                    known.rows.learn(entry.id, form.__wrapped__(entry.text))
            if after is None:
                return
            await asyncio.sleep(LEARN_EVERY_S)

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
                # Made here, not in the thread that writes: there, each short native call would hand the GIL to and fro.
                points = list[Any]()
                for n, entry in enumerate(group.values(), 1):
                    points.append(_point(entry, self.key))
                    if n % AT_ONCE == 0:
                        await asyncio.sleep(0)
                await in_thread(lambda: self._write(points))
            except BaseException:
                self._wake.set()
                raise
        for name, one in group.items():
            if self._pending.get(name) is one:
                del self._pending[name]

    def _write(self, points: list[Any]) -> None:
        self._shard.update(q.UpdateOperation.upsert_points(points))

    def _ids(self, chosen: Any = None) -> Iterator[str]:
        """Of all entries in the shard, or of those that a filter chooses."""
        after = None
        while True:
            request = q.ScrollRequest(after, SCROLL, chosen, with_payload=False, with_vector=False)
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

    def _all(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Those of `ids` that there are."""
        found, missing = dict[str, Entry](), list[str]()
        for one in ids:
            if (known := self._entries.get(one)) is not None:
                self._entries.move_to_end(one)
                found[one] = known
            elif self._may_hold(one):
                missing.append(one)
        if missing:
            found.update((entry.id, entry) for entry in self._read(missing))
        return found

    def _read(self, ids: Sequence[str]) -> list[Entry]:
        """From the shard, which bears it at any time: a few points are read in less time than a thread takes to be asked."""
        records = self._shard.retrieve(ids, True, True)
        entries = [read(str(one.id), one.payload, one.vector, self.key) for one in records]
        found = [entry for entry in entries if entry is not None]
        for entry in found:
            self._keep(entry)
        return found

    def _opened(self, scope: str) -> _Scope:
        """A scope of which the shard has not been asked yet."""
        made = self._scopes[scope] = _Scope()
        for entry in self._pending.values():
            if entry.scope == scope and entry.vector is not None:
                made.rows.add(entry.id, entry.vector, form(entry.text))
        while len(self._scopes) > MOST_SCOPES:
            self._scopes.popitem(last=False)
        return made

    async def _read_on(self, scope: str, known: _Scope) -> None:
        """Reads vectors of `scope` from where the last look-up stopped; who comes meanwhile waits for this one alone."""
        if known.reading.locked():
            async with known.reading:
                return
        chosen = _of_scope(scope)
        until = time.monotonic() + PATIENCE_S
        async with known.reading:
            while not known.whole:
                request = q.ScrollRequest(known.after, PAGE, chosen, with_payload=False, with_vector=True)
                ids, vectors, known.after = self._page(request)
                for one, vector in zip(ids, vectors, strict=True):
                    if one not in known.rows:  # one that is has been stored since
                        known.rows.add(one, vector)
                known.whole = known.after is None
                if known.whole and known.rows:
                    self._unlearnt.put_nowait(scope)
                if time.monotonic() > until:
                    break
                await asyncio.sleep(0)
        while (
            known.rows
            and len(self._scopes) > 1
            and sum(len(one.rows) for one in self._scopes.values()) > MOST_IN_MEMORY
        ):
            self._scopes.popitem(last=False)

    def _page(self, request: Any) -> tuple[list[str], Vector, Any]:
        """Vectors from the shard, which bears it at any time; of nearly all scopes it is one page, sooner read than a thread is asked."""
        records, after = self._shard.scroll(request)
        packed = b"".join(NUMBERS.pack(*one.vector) for one in records)
        return [str(one.id) for one in records], np.frombuffer(packed, np.float32).reshape(-1, DIMENSIONS), after

    def _forget(self, ids: Collection[str]) -> None:
        gone = set(ids) - self._pending.keys()  # what is pending has come since
        for one in gone:
            self._entries.pop(one, None)
        for scope in self._scopes.values():
            scope.rows.discard(gone)

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._entries.move_to_end(entry.id)
        while len(self._entries) > MOST_ENTRIES:
            self._entries.popitem(last=False)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Work that takes its time, one at a time, also when who asked for it has left meanwhile."""
        async with self._lock:
            return await in_thread(work)


def _of_scope(scope: str) -> Any:
    return q.Filter(must=[q.FieldCondition("scope", match=q.MatchValue(scope))])


def _any(rows: Sequence[Near], hopes: Hopeful) -> bool:
    return bool(rows) and hopes([(one.form, one.cosine) for one in rows])


def _point(entry: Entry, key: bytes) -> q.Point:
    return q.Point(entry.id, numbers(entry), written(entry, key))


def _digest(entry_id: str) -> int:
    """64 of an id's 128 bits: ids are hashes already."""
    return int(entry_id.replace("-", "")[:16], 16)
