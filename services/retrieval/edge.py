"""Passages in Qdrant's own engine in this process. One process a shard: a second is refused by its lock."""

import asyncio
import logging
import shutil
import struct
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import orjson
import qdrant_edge as q

from services.retrieval.payload import DENSE, FILTERED, STATIC, pairs, read, written
from services.retrieval.sharing import Sharing
from services.retrieval.store import Found, Hit, Passage, Question, Scope, Vector
from services.retrieval.words import bm25
from services.runtime import folders
from services.runtime.background import in_thread
from services.runtime.children import Child

log = logging.getLogger(__name__)
T = TypeVar("T")

FLUSH_EVERY_S = 5.0
WORTH_IT, SHARE = 20_000, 0.25
"""Passages without graphs, at least and as a share of all, from which it is worth to build them."""
HALVES = ("new", "gone", "copy", "old")
"""Folders that a kill may leave beside the shard's own."""
MOST_OF_DOCUMENT = 100_000
WHOLE = q.SearchParams(quantization=q.QuantizationSearchParams(rescore=True, oversampling=1.5))
"""Half as many again as are wanted are found by their 8 bits."""
FEW = 16


@dataclass(slots=True)
class EdgeStore:
    folder: Path
    dimensions: int = DENSE
    """Of dense vectors, where the shard is made."""
    ways: frozenset[str] = frozenset({"bm25", "static", "dense"})
    _shard: Any = None
    _sharing: Sharing = field(default_factory=Sharing)
    _words: Any = field(default_factory=bm25)
    _journal: list[Any] | None = None
    """Changes since a copy was taken; None while there is none."""
    _since: int | None = None
    """Passages that came since graphs were built; None until the first look."""

    def open(self) -> None:
        """Opens the shard, or makes it. Called once, before anything else.

        It is made and dropped under another name, so that a folder of its own name is always whole.
        """
        if self._aside_folder("old").is_dir() and not self.folder.is_dir():
            self._aside_folder("old").rename(self.folder)  # killed between the two renames of a swap
        for half in map(self._aside_folder, HALVES):
            shutil.rmtree(half, ignore_errors=True)
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            self._make(self._aside_folder("new"))
            if self.folder.is_dir():
                self.folder.rmdir()
            self._aside_folder("new").rename(self.folder)
        # One of the release before takes the configuration up when it is tidied.
        self._shard = q.EdgeShard.load(str(self.folder), self._config())
        self._finish_replacing()
        folders.reading_ahead(self.folder)

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        made = q.EdgeShard.create(str(folder), self._config())
        for name in FILTERED:
            made.update(q.UpdateOperation.create_field_index(name, q.PayloadSchemaType.Keyword))
        made.flush()
        made.close()

    def _config(self) -> Any:
        """Dense vectors are looked through in 8 bits, and the best of them compared whole."""
        quantised = q.ScalarQuantizationConfig(type=q.ScalarType.Int8, always_ram=True)
        vectors = {
            "static": q.EdgeVectorParams(size=STATIC, distance=q.Distance.Cosine),
            "dense": q.EdgeVectorParams(
                size=self.dimensions, distance=q.Distance.Cosine, quantization_config=quantised
            ),
        }
        sparse = {"bm25": q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)}
        return q.EdgeConfig(vectors=vectors, sparse_vectors=sparse)

    def _update(self, operation: Any) -> None:
        self._shard.update(operation)
        if self._journal is not None:
            self._journal.append(operation)

    def _aside_folder(self, what: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{what}")

    @property
    def _halfway(self) -> Path:
        """Names the document that is replaced, as long as two versions of it may be in the shard."""
        return self._aside_folder("halfway")

    def close(self) -> None:
        if self._shard is not None:
            self._shard.flush()
            self._shard.close()
            self._shard = None

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]:
        chosen = _document(tenant, collection, [document_id])
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=True, with_vector=True)
        return [_read(one) for one in (await self._beside(lambda: self._shard.scroll(request)))[0]]

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        points = [self._point(one) for one in passages]
        kept = {one.id for one in passages}

        def work() -> None:  # alone: no search comes between
            self._finish_replacing()
            gone = self._others(tenant, collection, document_id, kept)
            if points and gone:
                self._halfway.write_bytes(orjson.dumps([tenant, collection, document_id, sorted(kept)]))
            if points:
                self._update(q.UpdateOperation.upsert_points(points))
                self._since = None if self._since is None else self._since + len(points)
            if gone:
                self._update(q.UpdateOperation.delete_points(gone))
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
            self._update(q.UpdateOperation.delete_points(old))
        self._halfway.unlink()

    def _others(self, tenant: str, collection: str, document_id: str, kept: Set[str]) -> list[Any]:
        """The ids of a document's passages but `kept`."""
        chosen = _document(tenant, collection, [document_id])
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=False, with_vector=False)
        return [one.id for one in self._shard.scroll(request)[0] if str(one.id) not in kept]

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        chosen = _document(tenant, collection, document_ids)
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=True, with_vector=False)

        def work() -> int:
            known = {one.payload["document_id"] for one in self._shard.scroll(request)[0]}
            self._update(q.UpdateOperation.delete_points_by_filter(chosen))
            return len(known)

        return await self._aside(work)

    async def add_dense(self, vectors: Mapping[str, Vector]) -> None:
        def work() -> None:
            known: list[int | UUID | str] = [str(one.id) for one in self._shard.retrieve(list(vectors), False, False)]
            if not known:
                return
            made = [q.PointVectors(one, {"dense": vectors[str(one)].tolist()}) for one in known]
            self._update(q.UpdateOperation.update_vectors(made))
            self._update(q.UpdateOperation.set_payload(known, {"dense": "yes"}))

        await self._aside(work)

    async def without_dense(self, most: int) -> Sequence[Passage]:
        chosen = q.Filter(must=[q.FieldCondition("dense", match=q.MatchValue("no"))])
        request = q.ScrollRequest(limit=most, filter=chosen, with_payload=True, with_vector=True)
        return [_read(one) for one in (await self._beside(lambda: self._shard.scroll(request)))[0]]

    async def passages(self, ids: Sequence[str]) -> Mapping[str, Passage]:
        found = await self._beside(lambda: self._shard.retrieve(list(ids), True, False))
        return {one.id: one for one in map(_read, found)}

    async def dense_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        def work() -> Any:
            return self._shard.retrieve(list(ids), False, ["dense"])

        # A few vectors are read in less time than a thread takes to be asked, where nobody changes the shard.
        found = await self._beside(work) if self._sharing.changing or len(ids) > FEW else work()
        made: dict[str, Vector] = {}
        for one in found:
            vectors = one.vector  # made anew each time it is looked at
            dense = vectors.get("dense") if isinstance(vectors, dict) else None
            if dense is not None:
                made[str(one.id)] = np.frombuffer(struct.pack(f"{len(dense)}f", *dense), np.float32)
        return made

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        chosen = _document(passage.tenant, passage.collection, [passage.document_id])
        request = q.ScrollRequest(limit=MOST_OF_DOCUMENT, filter=chosen, with_payload=True, with_vector=False)
        found = map(_read, (await self._beside(lambda: self._shard.scroll(request)))[0])
        near = [one for one in found if abs(one.ordinal - passage.ordinal) <= most]
        return sorted(near, key=lambda one: one.ordinal)

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        chosen = _scope(scope)
        left = _scope(scope, waiting=True) if question.dense is not None else chosen
        asked: dict[str, Any] = {}
        if question.text:
            asked["bm25"] = q.Query.Nearest(self._words.embed_query(question.text), using="bm25")
        if question.static is not None:
            asked["static"] = q.Query.Nearest(question.static.tolist(), using="static")
        if question.dense is not None:
            asked["dense"] = q.Query.Nearest(question.dense.tolist(), using="dense")

        requests = [
            q.QueryRequest(
                limit=most,
                query=query,
                filter=left if way == "static" else chosen,
                with_payload=False,
                with_vector=False,
                params=WHOLE if way == "dense" else None,
            )
            for way, query in asked.items()
        ]
        found = await self._beside(lambda: self._shard.query_batch(q.QueryBatchRequest(requests)))
        return {
            way: [Hit(str(one.id), float(one.score)) for one in points]
            for way, points in zip(asked, found, strict=True)
        }

    async def drop(self) -> None:
        """The folder goes with it: nothing can be asked of the store any more."""
        gone = self._aside_folder("gone")

        def work() -> None:
            self._shard.close()
            self._shard = None
            self._halfway.unlink(missing_ok=True)
            self.folder.rename(gone)

        await self._aside(work)
        await asyncio.to_thread(shutil.rmtree, gone)

    async def run(self) -> None:
        """Writes to disk now and then, and has graphs built once there is enough that has none, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            if await self._aside(self._flushed):
                try:
                    await self.tidy()
                except OSError as error:
                    log.warning("the graphs of %s were not built: %s", self.folder, error.strerror)

    def _flushed(self) -> bool:
        """Whether so many passages have come since the graphs were built that searches feel it. A dropped shard has none."""
        if self._shard is None:
            return False
        self._shard.flush()
        count = int(self._shard.info().points_count)
        if self._since is None:  # just opened: a tidy shard has a graph for each vector of each passage
            self._since = 0 if self._shard.info().indexed_vectors_count >= 2 * count else count
        return self._since >= max(WORTH_IT, int(count * SHARE))

    async def tidy(self) -> None:
        """Graphs for all vectors: in a copy, by another process; what changes meanwhile is done in the copy, too, and then it takes
        the shard's place. Searches wait for the copying and the swap alone.
        """
        copy, old = self._aside_folder("copy"), self._aside_folder("old")

        def begin() -> bool:
            if self._shard is None:  # dropped since somebody looked
                return False
            self._since = 0
            self._shard.flush()
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.folder, copy)
            self._journal = []
            return True

        def swap() -> None:
            if self._shard is None:  # dropped meanwhile
                return
            made = q.EdgeShard.load(str(copy))
            for operation in self._journal or ():
                made.update(operation)
            made.flush()
            made.close()
            self._shard.close()
            self.folder.rename(old)
            copy.rename(self.folder)
            self._shard = q.EdgeShard.load(str(self.folder))
            folders.reading_ahead(self.folder)

        try:
            if not await self._aside(begin):
                return
            child = Child.start(sys.executable, "-m", "services.retrieval.tidying", str(copy))
            try:
                code = await child.wait()
            finally:
                child.kill()
                await child.wait()
            if code:
                log.warning("the graphs of %s were not built: the process ended with %d", self.folder, code)
                return
            await self._aside(swap)
        finally:
            self._journal = None
            for left in (copy, old):
                await asyncio.to_thread(shutil.rmtree, left, True)

    def _point(self, one: Passage) -> Any:
        vectors: dict[str, Any] = {"static": one.static.tolist(), "bm25": self._words.embed_document(one.searched)}
        if one.dense is not None:
            vectors["dense"] = one.dense.tolist()
        return q.Point(one.id, vectors, written(one))

    async def _aside(self, work: Callable[[], T]) -> T:
        """Changes the blocking shard, alone."""
        async with self._sharing.alone():
            return await in_thread(work)

    async def _beside(self, work: Callable[[], T]) -> T:
        """Reads the blocking shard, beside others who do."""
        async with self._sharing.reading():
            return await in_thread(work)


def _document(tenant: str, collection: str, document_ids: Sequence[str]) -> Any:
    return q.Filter(
        must=[
            q.FieldCondition("tenant", match=q.MatchValue(tenant)),
            q.FieldCondition("collection", match=q.MatchValue(collection)),
            q.FieldCondition("document_id", match=q.MatchAny(list(document_ids))),
        ]
    )


def _scope(scope: Scope, *, waiting: bool = False) -> Any:
    must = [
        q.FieldCondition("tenant", match=q.MatchValue(scope.tenant)),
        q.FieldCondition("readers", match=q.MatchAny(list(scope.readers))),
    ]
    if scope.collection:
        must.append(q.FieldCondition("collection", match=q.MatchValue(scope.collection)))
    must += [q.FieldCondition("attributes", match=q.MatchValue(pair)) for pair in pairs(scope.attributes)]
    if waiting:
        must.append(q.FieldCondition("dense", match=q.MatchValue("no")))
    return q.Filter(must=must)  # type: ignore[arg-type]


def _read(point: Any) -> Passage:
    vectors = point.vector if isinstance(point.vector, dict) else {}
    return read(str(point.id), point.payload, vectors.get("static"), vectors.get("dense"))
