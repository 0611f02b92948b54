"""Retrieval with a folder and a second generation, until it is killed: `python -m tests.retrieval.victim STATE DATABASE_URL`.

Vectors are made from a text's hash: what is killed and goes on is the work around them.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from tollway.encoder.v1 import encoder_pb2 as pb

from services.retrieval import stores
from services.retrieval.app import MIGRATIONS
from services.retrieval.dense import PostgresModels
from services.retrieval.encoding import Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.following import Following
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest
from services.retrieval.intake import Intake
from services.retrieval.migrating import Migrating
from services.retrieval.moves import PostgresMoves
from services.retrieval.postgres import PostgresCatalogue
from services.retrieval.shelf import Shelf
from services.retrieval.sources import SourceSettings
from services.retrieval.sources.keeper import keeper
from services.runtime import postgres
from services.runtime.background import running


class Hashing:
    """An encoder that needs no model."""

    async def Encode(self, request: pb.EncodeRequest, **_: object) -> pb.EncodeResponse:
        size = 384 if request.tier == pb.TIER_MINILM else 256
        made = []
        for text in request.texts:
            seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
            vector = np.random.default_rng(seed).normal(size=size).astype(np.float32)
            made.append(pb.Vector(model="hash", values=(vector / np.linalg.norm(vector)).tobytes()))
        return pb.EncodeResponse(vectors=made)


async def live(state: Path, url: str) -> None:
    """Until somebody ends it."""
    encoder: Any = Hashing()
    encoding = Encoding(encoder, "key")
    async with postgres.opened(url, "retrieval", MIGRATIONS, 10, sessions=True) as pool:
        catalogue, moves = PostgresCatalogue(pool), PostgresMoves(pool)
        shelf = Shelf(partial(opened, state, catalogue, encoding))
        generations = Generations(await shelf.open((await moves.get("first")).active))
        ingest = Ingest(generations, catalogue, encoding, Epochs(catalogue))
        intake, following = Intake(ingest, catalogue), Following(generations, ingest.wake)
        source = SourceSettings(url=f"folder:{state / 'shelf'}", tenant="acme", collection="c")
        sources = keeper({"files": source}, catalogue, intake, ())
        names = frozenset({"first", "next"})
        models = PostgresModels(pool)
        migrating = Migrating(generations, shelf, moves, models, catalogue, ingest.turns, names, following, 0.1)
        await migrating.look()
        works = (following.run(), sources.run(), migrating.follow(), migrating.lead())
        try:
            async with running(*works):
                print("up", flush=True)  # noqa: T201 - the test waits for it
                await asyncio.Event().wait()
        finally:
            await shelf.close_all()


@asynccontextmanager
async def opened(state: Path, catalogue: PostgresCatalogue, encoding: Encoding, name: str) -> AsyncIterator[Generation]:
    async with stores.opened(f"edge:{state / name}", "", catalogue) as store:
        yield Generation(name, store, encoding)


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
