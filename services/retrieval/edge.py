"""Passages in Qdrant's own engine in this process: tenants of few share a shard, one of many has a shard of its own.

What a search costs grows with the passages of its shard, also where a filter leaves few of them: words are counted in all. So no
tenant pays for what another keeps, and rare words are those that are rare in the tenant's own documents.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from services.retrieval.payload import DENSE
from services.retrieval.shard import Shard
from services.retrieval.sharing import Sharing
from services.retrieval.store import Found, Passage, Question, Scope, Vector
from services.runtime.background import in_thread

log = logging.getLogger(__name__)
T = TypeVar("T")

FLUSH_EVERY_S = 5.0
OWN_FROM = 10_000
"""Passages from which a tenant moves to a shard of its own when graphs are next built."""
MOST_AWAKE = 32
"""Shards of a single tenant that are open at once. Each maps 100 MB of files however little is in it, and opens in 0.1 to 0.3 s."""


@dataclass(slots=True)
class EdgeStore:
    folder: Path
    """The shared shard; those of single tenants are beside it, in `FOLDER.own`."""
    dimensions: int = DENSE
    """Of dense vectors, where a shard is made."""
    own_from: int = OWN_FROM
    most_awake: int = MOST_AWAKE
    ways: frozenset[str] = frozenset({"bm25", "static", "dense"})
    _shared: Shard = field(init=False)
    _own: dict[str, Shard] = field(default_factory=dict)
    """By tenant, who was asked last at the end."""
    _routes: Sharing = field(default_factory=Sharing)
    """Read by all that ask a shard for something, changed by a tenant's move."""
    _turn: int = 0

    def __post_init__(self) -> None:
        self._shared = Shard(self.folder, self.dimensions)

    @property
    def _homes(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.own")

    @property
    def _every(self) -> list[Shard]:
        return [self._shared, *self._own.values()]

    def open(self) -> None:
        """Opens the shared shard, or makes it. Called once, before anything else."""
        self._shared.open()
        for home in sorted(self._homes.glob("*")):
            if home.suffix or not (home / "tenant").exists():  # a kill came while it was made, or taken away
                shutil.rmtree(home)
                continue
            tenant, shard = self._at_home(home)
            shard.recover()
            self._own[tenant] = shard
        self._shared.forget(self._own)  # whose move broke off after they had a shard of their own

    def _at_home(self, home: Path) -> tuple[str, Shard]:
        return (home / "tenant").read_text(), Shard(home / "shard", self.dimensions)

    def close(self) -> None:
        for shard in self._every:
            shard.close()

    @asynccontextmanager
    async def _of(self, tenant: str) -> AsyncIterator[Shard]:
        """The shard that has the tenant's passages, for as long as the block lasts."""
        async with self._routes.reading():
            shard = self._own.pop(tenant, None)
            if shard is None:
                yield self._shared
                return
            self._own[tenant] = shard
            await self._make_room(shard)
            yield shard

    async def _make_room(self, shard: Shard) -> None:
        """Lets those rest that were not asked for longest, where `shard` must wake."""
        if shard.awake or shard is self._shared:
            return
        others = [one for one in self._own.values() if one.awake]
        for one in others[: max(len(others) - self.most_awake + 1, 0)]:
            await one.rest()

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]:
        async with self._of(tenant) as shard:
            return await shard.of_document(tenant, collection, document_id)

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        async with self._of(tenant) as shard:
            await shard.replace(tenant, collection, document_id, passages)

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        async with self._of(tenant) as shard:
            return await shard.remove(tenant, collection, document_ids)

    async def add_dense(self, tenant: str, vectors: Mapping[str, Vector]) -> None:
        async with self._of(tenant) as shard:
            await shard.add_dense(tenant, vectors)

    async def without_dense(self, most: int) -> Sequence[Passage]:
        """Of one shard after another, so that nobody waits for all that a large tenant brought."""
        async with self._routes.reading():
            behind = [one for one in self._every if one.behind]
            self._turn += 1
            for n in range(len(behind)):
                shard = behind[(self._turn + n) % len(behind)]
                await self._make_room(shard)
                if found := await shard.without_dense(most):
                    return found
            return []

    async def passages(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Passage]:
        async with self._of(tenant) as shard:
            return await shard.passages(tenant, ids)

    async def dense_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Vector]:
        async with self._of(tenant) as shard:
            return await shard.dense_of(ids)

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        async with self._of(passage.tenant) as shard:
            return await shard.around(passage, most)

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        async with self._of(scope.tenant) as shard:
            return await shard.search(question, scope, most)

    async def drop(self) -> None:
        async with self._routes.alone():
            for shard in reversed(self._every):
                await shard.drop()
            self._own.clear()
            await in_thread(partial(shutil.rmtree, self._homes, True))

    async def run(self) -> None:
        """Writes to disk now and then, and has graphs built where there is enough that has none, until cancelled."""
        await self._wake(list(self._own))
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await _outlived("empty shards were not taken away", self.clear())
            for shard in self._every:
                if await _outlived(f"{shard.folder} was not written", shard.flushed()):
                    await _outlived(f"the graphs of {shard.folder} were not built", self._tidy(shard))

    async def clear(self) -> None:
        """Takes away the shards of tenants who have nothing any more: deleting alone leaves on the disk what was deleted."""
        for tenant in list(self._own):
            async with self._routes.reading():
                shard = self._own.get(tenant)
                if shard is None or not shard.awake or not await shard.empty():
                    continue
            async with self._routes.alone():
                if tenant in self._own and await shard.empty():  # nothing has come meanwhile
                    del self._own[tenant]
                    await shard.drop()
                    await in_thread(partial(shutil.rmtree, shard.folder.parent))

    async def _wake(self, tenants: Sequence[str]) -> None:
        """Opens their shards, as many as may be open."""
        for tenant in tenants[: self.most_awake]:
            async with self._of(tenant) as shard:
                if not shard.awake and not shard.dropped:
                    await shard.wake()

    async def tidy(self) -> None:
        """Graphs for all vectors, and shards of their own for tenants that have many."""
        for shard in self._every:
            await self._tidy(shard)

    async def _tidy(self, shard: Shard) -> None:
        if shard is self._shared:
            await self._tidy_shared()
            return
        async with shard.rebuilding() as ready, self._routes.reading():
            if ready and not shard.dropped:
                await shard.settle()

    async def _tidy_shared(self) -> None:
        moved = list[str]()
        try:
            more = (str(self._homes), str(self.own_from), str(self.dimensions))
            async with self._shared.rebuilding(*more) as ready, self._routes.alone():
                if ready and not self._shared.dropped:
                    moved = await self._part()
        finally:
            for left in [self._homes] if self._shared.dropped else self._homes.glob("*.new"):
                await in_thread(partial(shutil.rmtree, left, True))
        await self._wake(moved)

    async def _part(self) -> list[str]:
        """Ends moves: what the tidying process has put into shards of their own is searched there from here on. Whose it is."""
        moving = dict(map(self._at_home, self._homes.glob("*.new")))

        def work() -> None:
            for tenant, shard in moving.items():
                self._shared.replay(shard.folder, tenant.__eq__)
            for tenant, shard in moving.items():
                home = shard.folder.parent
                home.rename(home.with_suffix(""))  # from here on it is where the passages are, whatever is killed
                shard.folder = home.with_suffix("") / shard.folder.name
                self._own[tenant] = shard

        try:
            await in_thread(work)
            await self._shared.settle(moving)
        except BaseException:
            self._shared.forget([tenant for tenant in moving if tenant in self._own])
            raise
        return list(moving)


async def _outlived(what: str, work: Awaitable[T]) -> T | None:
    """Says so where `work` fails, and goes on: the next round does it again, and searches need it no less meanwhile."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the engine fails with no other
        log.warning("%s: %s", what, error)
        return None


def home_of(tenant: str) -> str:
    """The name of a tenant's folder: no tenant's name is a path, or differs from another's by case alone."""
    return blake2b(tenant.encode(), digest_size=16).hexdigest()
