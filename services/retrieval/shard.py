"""A shard of Qdrant's own engine in this process. One process a shard: a second is refused by its lock."""

import asyncio
import logging
import shutil
import struct
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import orjson
import qdrant_edge as q

from services.retrieval import points
from services.retrieval.payload import DENSE
from services.retrieval.store import Found, Hit, Passage, Question, Scope, StoreAway, Vector
from services.retrieval.words import bm25
from services.runtime import folders
from services.runtime.background import in_thread
from services.runtime.children import Child

log = logging.getLogger(__name__)
T = TypeVar("T")

WORTH_IT, SHARE = 20_000, 0.25
"""Passages without graphs, at least and as a share of all, from which it is worth to build them."""
HALVES = ("new", "gone", "copy", "old")
"""Folders that a kill may leave beside the shard's own."""
MOST_OF_DOCUMENT = 100_000
WHOLE = q.SearchParams(quantization=q.QuantizationSearchParams(rescore=True, oversampling=1.5))
"""Half as many again as are wanted are found by their 8 bits."""


@dataclass(slots=True)
class Shard:
    """What a [Store][services.retrieval.store.Store] does, for the tenants whose passages are here."""

    folder: Path
    dimensions: int = DENSE
    """Of dense vectors, where the shard is made."""
    behind: bool = True
    """Whether there may be passages that have no dense vector yet."""
    dropped: bool = False
    _shard: Any = None
    """None while it rests."""
    _keyed: bool = False
    """Whether one look at a passage says who may see it."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of whoever is at the shard."""
    _words: Any = field(default_factory=bm25)
    _journal: list[tuple[str, Any]] | None = None
    """Changes since a copy was taken, each with its tenant; None while there is none."""
    _since: int | None = None
    """Passages that came since graphs were built; None until the first look."""

    @property
    def awake(self) -> bool:
        return self._shard is not None

    def open(self) -> None:
        """Opens the shard, or makes it. Nobody else works in it meanwhile."""
        self.recover()
        self._loaded()

    def recover(self) -> None:
        """Leaves a whole folder of the shard's name and nothing beside it, whatever a kill left. Called once, before anything else.

        It is made and dropped under another name, so that a folder of its own name is always whole.
        """
        if self._aside_folder("old").is_dir() and not self.folder.is_dir():
            self._aside_folder("old").rename(self.folder)  # killed between the two renames of a swap
        for half in map(self._aside_folder, HALVES):
            shutil.rmtree(half, ignore_errors=True)
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            points.created(self._aside_folder("new"), self.dimensions).close()
            if self.folder.is_dir():
                self.folder.rmdir()
            self._aside_folder("new").rename(self.folder)

    def _update(self, tenant: str, operation: Any) -> None:
        self._shard.update(operation)
        if self._journal is not None:
            self._journal.append((tenant, operation))

    def _aside_folder(self, what: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{what}")

    @property
    def _halfway(self) -> Path:
        """Names the document that is replaced, as long as two versions of it may be in the shard."""
        return self._aside_folder("halfway")

    async def wake(self) -> None:
        """Opens it before somebody has to wait for that."""
        await self._aside(lambda _: None)

    async def rest(self) -> None:
        """Gives its memory back until somebody asks for something."""
        async with self._lock:
            await in_thread(self.close)

    def close(self) -> None:
        if self._shard is not None:
            self._shard.flush()
            self._shard.close()
            self._shard = None

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]:
        chosen = points.of_document(tenant, collection, [document_id])
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=True, with_vector=True)
        return [points.passage(one) for one in (await self._read(lambda shard: shard.scroll(request)))[0]]

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        new = [self._point(one) for one in passages]
        kept = {one.id for one in passages}

        def work(_: Any) -> None:  # alone: no search comes between
            self._finish_replacing()
            self.behind = True
            gone = self._others(tenant, collection, document_id, kept)
            if new and gone:
                self._halfway.write_bytes(orjson.dumps([tenant, collection, document_id, sorted(kept)]))
            if new:
                self._update(tenant, q.UpdateOperation.upsert_points(new))
                self._since = None if self._since is None else self._since + len(new)
            if gone:
                self._update(tenant, q.UpdateOperation.delete_points(gone))
                self._halfway.unlink(missing_ok=True)

        await self._aside(work)

    def _finish_replacing(self) -> None:
        """Ends a replacement that broke off after what is new had come and before what is old was gone."""
        if not self._halfway.exists():
            return
        try:
            tenant, collection, document_id, kept = orjson.loads(self._halfway.read_bytes())
        except ValueError:  # it broke off before it began
            kept = []
        if kept and len(self._shard.retrieve(kept, False, False)) == len(kept):
            old = self._others(tenant, collection, document_id, set(kept))
            self._update(tenant, q.UpdateOperation.delete_points(old))
        self._halfway.unlink()

    def _others(self, tenant: str, collection: str, document_id: str, kept: Set[str]) -> list[Any]:
        """The ids of a document's passages but `kept`."""
        chosen = points.of_document(tenant, collection, [document_id])
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=False, with_vector=False)
        return [one.id for one in self._shard.scroll(request)[0] if str(one.id) not in kept]

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        chosen = points.of_document(tenant, collection, document_ids)
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=True, with_vector=False)

        def work(shard: Any) -> int:
            known = {one.payload["document_id"] for one in shard.scroll(request)[0]}
            self._update(tenant, q.UpdateOperation.delete_points_by_filter(chosen))
            return len(known)

        return await self._aside(work)

    async def add_dense(self, tenant: str, vectors: Mapping[str, Vector]) -> None:
        def work(shard: Any) -> None:
            known: list[int | UUID | str] = [str(one.id) for one in shard.retrieve(list(vectors), False, False)]
            if not known:
                return
            made = [q.PointVectors(one, {"dense": vectors[str(one)].tolist()}) for one in known]
            self._update(tenant, q.UpdateOperation.update_vectors(made))
            self._update(tenant, q.UpdateOperation.set_payload(known, {"dense": "yes"}))

        await self._aside(work)

    async def without_dense(self, most: int) -> Sequence[Passage]:
        chosen = q.Filter(must=[q.FieldCondition("dense", match=q.MatchValue("no"))])
        request = q.ScrollRequest(limit=most, filter=chosen, with_payload=True, with_vector=True)

        def work(shard: Any) -> Any:
            found = shard.scroll(request)[0]
            self.behind = bool(found)  # no change comes between
            return found

        return [points.passage(one) for one in await self._read(work)]

    async def passages(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Passage]:
        found = await self._read(lambda shard: shard.retrieve(list(ids), True, False))
        return {one.id: one for one in map(points.passage, found) if one.tenant == tenant}

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        found = await self._read(lambda shard: shard.retrieve(list(ids), False, ["dense"]))
        made: dict[str, Vector] = {}
        for one in found:
            vectors = one.vector  # made anew each time it is looked at
            dense = vectors.get("dense") if isinstance(vectors, dict) else None
            if dense is not None:
                made[str(one.id)] = np.frombuffer(struct.pack(f"{len(dense)}f", *dense), np.float32)
        return made

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        chosen = points.of_document(passage.tenant, passage.collection, [passage.document_id])
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=True, with_vector=False)
        found = map(points.passage, (await self._read(lambda shard: shard.scroll(request)))[0])
        near = [one for one in found if abs(one.ordinal - passage.ordinal) <= most]
        return sorted(near, key=lambda one: one.ordinal)

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        return await self._read(lambda shard: self._found(shard, question, scope, most))

    def _found(self, shard: Any, question: Question, scope: Scope, most: int) -> Found:
        chosen, asked = points.within(scope, keyed=self._keyed), dict[str, Any]()

        def ask(way: str, query: Any, within: Any, params: Any = None) -> None:
            asked[way] = q.QueryRequest(
                limit=most,
                query=q.Query.Nearest(query, using=way),
                filter=within,
                with_payload=False,
                with_vector=False,
                params=params,
            )

        if question.text:
            ask("bm25", self._words.embed_query(question.text), chosen)
        if question.static is not None and question.dense is None:
            ask("static", question.static.tolist(), chosen)
        elif question.static is not None and self.behind:
            ask("static", question.static.tolist(), points.within(scope, keyed=self._keyed, waiting=True))
        if question.dense is not None:
            ask("dense", question.dense.tolist(), chosen, WHOLE)
        found = shard.query_batch(q.QueryBatchRequest(list(asked.values())))
        return {
            way: [Hit(str(one.id), float(one.score)) for one in listed]
            for way, listed in zip(asked, found, strict=True)
        }

    async def empty(self) -> bool:
        return await self._read(lambda shard: shard.info().points_count == 0)

    def forget(self, tenants: Collection[str]) -> None:
        """Takes tenants' passages away that are kept elsewhere. Nobody else works in it meanwhile."""
        if tenants:
            self._loaded().update(q.UpdateOperation.delete_points_by_filter(points.of_tenants(tenants)))

    async def drop(self) -> None:
        """The folder goes with it: nothing can be asked of it any more. One that broke off is gone on with."""
        gone = self._aside_folder("gone")

        def work(shard: Any) -> None:
            shard.close()
            self._shard, self.dropped = None, True
            self._halfway.unlink(missing_ok=True)
            self.folder.rename(gone)

        if not self.dropped:
            await self._aside(work)
        if gone.exists():
            await in_thread(partial(shutil.rmtree, gone))

    async def flushed(self) -> bool:
        """Writes to disk; whether so many passages have come since the graphs were built that searches feel it."""

        def work() -> bool:
            if self._shard is None:
                return False
            shard = self._shard
            shard.flush()
            count = int(shard.info().points_count)
            if self._since is None:  # just opened: a tidy shard has a graph for each vector of each passage
                self._since = 0 if shard.info().indexed_vectors_count >= 2 * count else count
            return self._since >= max(WORTH_IT, int(count * SHARE))

        async with self._lock:
            return await in_thread(work)

    @asynccontextmanager
    async def rebuilding(self, *more: str) -> AsyncIterator[bool]:
        """Has graphs for all vectors built in a copy, by another process that is told `more`; whether the copy may [settle][Shard.settle].
        Searches wait for the copying alone.
        """
        copy = self._aside_folder("copy")

        def begin() -> bool:
            if self.dropped:  # since somebody looked
                return False
            self._since = 0
            self._loaded().flush()
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.folder, copy)
            self._journal = []
            return True

        try:
            async with self._lock:
                begun = await in_thread(begin)
            if not begun:
                yield False
                return
            child = Child.start(sys.executable, "-m", "services.retrieval.tidying", str(copy), *more)
            try:
                code = await child.wait()
            finally:
                child.kill()
                await child.wait()
            if code:
                log.warning("the graphs of %s were not built: the process ended with %d", self.folder, code)
            yield not code
        finally:
            self._journal = None
            # Where the second rename of a swap failed, `old` is all there is.
            whole = self.folder.is_dir() or self.dropped
            for left in (copy, self._aside_folder("old")) if whole else (copy,):
                await in_thread(partial(shutil.rmtree, left, True))

    async def settle(self, gone: Collection[str] = ()) -> None:
        """The copy takes the shard's place, with what has changed meanwhile but for tenants that have `gone`."""
        copy, old = self._aside_folder("copy"), self._aside_folder("old")

        def work(shard: Any) -> None:
            self.replay(copy, lambda tenant: tenant not in gone)
            shard.close()
            self._shard = None
            self.folder.rename(old)
            copy.rename(self.folder)
            self._loaded()

        await self._aside(work)

    def replay(self, folder: Path, concerned: Callable[[str], bool]) -> None:
        """Does in a shard made from the copy what has changed since it was taken."""
        made = q.EdgeShard.load(str(folder))
        for tenant, operation in self._journal or ():
            if concerned(tenant):
                made.update(operation)
        made.flush()
        made.close()

    def _point(self, one: Passage) -> Any:
        vectors: dict[str, Any] = {"static": one.static.tolist(), "bm25": self._words.embed_document(one.searched)}
        if one.dense is not None:
            vectors["dense"] = one.dense.tolist()
        return q.Point(one.id, vectors, points.facts(one))

    def _loaded(self) -> Any:
        """
        Raises:
            StoreAway: it was dropped.
        """
        if self.dropped:
            raise StoreAway
        if self._shard is None:
            # One of the release before takes the configuration up when it is tidied.
            self._shard = q.EdgeShard.load(str(self.folder), points.configured(self.dimensions))
            self._finish_replacing()
            self._keyed = points.all_seen(self._shard)
            folders.reading_ahead(self.folder)
        return self._shard

    async def _aside(self, work: Callable[[Any], T]) -> T:
        """Changes the blocking shard."""
        async with self._lock:
            return await in_thread(lambda: work(self._loaded()))

    async def _read(self, work: Callable[[Any], T]) -> T:
        """Reads the shard, on the loop: the engine keeps the GIL until it has answered, so that a thread would add what it costs and
        free nobody.
        """
        async with self._lock:
            if self._shard is not None:
                return work(self._shard)
        return await self._aside(work)
