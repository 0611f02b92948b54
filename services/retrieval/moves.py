"""Where the move from one generation to another stands, in PostgreSQL, so that whoever goes on with it knows."""

from dataclasses import astuple, dataclass, fields, replace
from typing import Protocol, Self

import asyncpg
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.documents import Key
from services.retrieval.postgres import told

UNDER_WAY = (pb.MIGRATION_STATE_COPYING, pb.MIGRATION_STATE_ENCODING, pb.MIGRATION_STATE_VERIFYING)


@dataclass(frozen=True, slots=True)
class Move:
    active: str
    """The generation that is searched."""
    moving_to: str = ""
    leaving: str = ""
    """The one that was searched before; dropped once everything has come over."""
    state: int = pb.MIGRATION_STATE_UNSPECIFIED
    tolerance: float = 0.05
    after_tenant: str = ""
    after_collection: str = ""
    after_document: str = ""
    looked_at: int = 0
    copied: int = 0
    recall_before: float = 0.0
    recall_now: float = 0.0
    fault: str = ""

    @property
    def after(self) -> Key:
        """The last document of this pass that was looked at."""
        return self.after_tenant, self.after_collection, self.after_document

    @property
    def under_way(self) -> bool:
        return self.state in UNDER_WAY

    def at(self, key: Key, *, copied: bool) -> Self:
        return replace(
            self, after_tenant=key[0], after_collection=key[1], after_document=key[2], looked_at=self.looked_at + 1,
            copied=self.copied + copied,
        )  # fmt: skip

    def anew(self) -> Self:
        """For another pass over all documents."""
        return replace(self, after_tenant="", after_collection="", after_document="", looked_at=0)


COLUMNS = tuple(one.name for one in fields(Move))


class Moves(Protocol):
    async def get(self, first: str) -> Move:
        """The move; without one, a move from nowhere with `first` active."""
        ...

    async def put(self, move: Move, before: Move) -> bool:
        """Keeps `move`, if `before` still stands; whether it did."""
        ...


@dataclass(slots=True)
class MemoryMoves:
    move: Move | None = None

    async def get(self, first: str) -> Move:
        return self.move or Move(first)

    async def put(self, move: Move, before: Move) -> bool:
        if self.move is not None and self.move != before:
            return False
        self.move = move
        return True


@dataclass(slots=True)
class PostgresMoves:
    pool: asyncpg.Pool

    async def get(self, first: str) -> Move:
        with told():
            row = await self.pool.fetchrow(f"SELECT {', '.join(COLUMNS)} FROM generation")
        return Move(**row) if row else Move(first)

    async def put(self, move: Move, before: Move) -> bool:
        names, places = ", ".join(COLUMNS), [f"${n + 1}" for n in range(len(COLUMNS))]
        known = [f"${n + 1 + len(COLUMNS)}" for n in range(len(COLUMNS))]
        with told():
            done: str = await self.pool.execute(
                f"INSERT INTO generation ({names}) VALUES ({', '.join(places)}) ON CONFLICT (single) DO UPDATE SET"
                f" ({names}) = ({', '.join(places)})"
                f" WHERE ({', '.join(f'generation.{name}' for name in COLUMNS)}) = ({', '.join(known)})",
                *astuple(move), *astuple(before),
            )  # fmt: skip
        return done.endswith(" 1")
