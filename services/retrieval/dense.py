"""Which model makes the dense vectors of a generation: chosen once and kept, since vectors of two models never compare."""

from dataclasses import dataclass, field
from typing import Protocol

import asyncpg

from services.retrieval.encoding import BGE_SMALL, MINILM, Encoding
from services.retrieval.postgres import told


class OtherModel(Exception):
    def __init__(self, generation: str, kept: str, wanted: str) -> None:
        super().__init__(
            f"generation {generation} has vectors of {kept}, and the settings say {wanted}: "
            f"name another generation with dense: {wanted}, and move there with `tollway retrieval migrate`"
        )


class Models(Protocol):
    """By generation. All of it raises [StoreAway][services.retrieval.store.StoreAway] when the database does not answer."""

    async def get(self, generation: str) -> str:
        """'' where none was chosen."""
        ...

    async def keep(self, generation: str, model: str) -> str:
        """The one that was chosen first, maybe by another replica."""
        ...

    async def drop(self, generation: str) -> None: ...


@dataclass(slots=True)
class MemoryModels:
    kept: dict[str, str] = field(default_factory=dict)

    async def get(self, generation: str) -> str:
        return self.kept.get(generation, "")

    async def keep(self, generation: str, model: str) -> str:
        return self.kept.setdefault(generation, model)

    async def drop(self, generation: str) -> None:
        self.kept.pop(generation, None)


@dataclass(slots=True)
class PostgresModels:
    pool: asyncpg.Pool

    async def get(self, generation: str) -> str:
        with told():
            return await self.pool.fetchval("SELECT model FROM dense WHERE generation = $1", generation) or ""

    async def keep(self, generation: str, model: str) -> str:
        with told():
            await self.pool.execute("INSERT INTO dense VALUES ($1, $2) ON CONFLICT DO NOTHING", generation, model)
        return await self.get(generation)

    async def drop(self, generation: str) -> None:
        with told():
            await self.pool.execute("DELETE FROM dense WHERE generation = $1", generation)


async def chosen(generation: str, wanted: str, models: Models, encoding: Encoding, *, older: bool) -> str:
    """The model of `generation`: what it has vectors of, else what is wanted, else the best that the encoder has.

    `older` is a generation of before models were kept, when all that nobody chose was MiniLM's. Without a key no vectors are made,
    and nothing is chosen for good.

    Raises:
        OtherModel, StoreAway
        grpc.aio.AioRpcError: the encoder is away.
    """
    kept = await models.get(generation)
    if not kept and encoding.key:
        best = MINILM if wanted or older or not await encoding.has(BGE_SMALL) else BGE_SMALL
        kept = await models.keep(generation, wanted or best)
    if kept and wanted not in ("", kept):
        raise OtherModel(generation, kept, wanted)
    return kept or wanted or MINILM
