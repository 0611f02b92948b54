"""How soon a change is found: `python -m benchmarks.freshness`.

Retrieval as it runs in the mesh (Qdrant Edge, the catalogue in PostgreSQL, MiniLM following behind) takes a load of documents
per second, while a file, a row of an outbox and a message of a broker are changed over and over. The lag is from before the
change is made to the first search that finds its new words; searches are made every 20 ms. In between documents are deleted by
call and by source: a search that begins after the call returned, or after one search did not find them any more, must never find
them again; each that does is a stale hit.
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop
from tollway.retrieval.v1 import retrieval_pb2 as pb

from benchmarks import report
from benchmarks.local_encoder import LocalEncoder, best_dense
from services.mesh import embedded
from services.retrieval.app import MIGRATIONS
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.following import Following
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest
from services.retrieval.intake import Intake
from services.retrieval.postgres import PostgresCatalogue
from services.retrieval.search import Search, Wish
from services.retrieval.sources import SourceSettings
from services.retrieval.sources.keeper import keeper
from services.retrieval.store import Scope
from services.runtime import brokers, postgres
from services.runtime.background import running

ROOT = Path(__file__).parents[1]
LOOKS_S, GIVES_UP_S = 0.02, 30.0
WORDS = "toll bridge lorry night fee crown gate road river bank ticket pass season winter ferry queue lane sign clerk coin".split()
TOPIC = "tollway.documents.bench"
Change = Callable[[str, str], Awaitable[None]]
"""Sets the text of a document, or removes it when the text is empty."""


@dataclass(slots=True)
class Seen:
    lags: dict[str, list[float]] = field(default_factory=dict)
    stale: int = 0
    lost: int = 0
    searches: list[float] = field(default_factory=list)


def sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(words)).capitalize() + "."


def text_of(chance: random.Random) -> str:
    return "\n\n".join(" ".join(sentence(chance, 12) for _ in range(6)) for _ in range(2))


async def found(search: Search, seen: Seen, word: str) -> bool:
    began = time.perf_counter()
    ranked = await search.search(f"what of {word}?", None, Scope("acme"), Wish(5))
    seen.searches.append(time.perf_counter() - began)
    return any(word in one.passage.text for one in ranked)


async def changing(name: str, change: Change, search: Search, seen: Seen, until: float) -> None:
    """Changes one document after the other, and removes every third."""
    chance, turn = random.Random(name), 0
    while time.monotonic() < until:
        document, word = f"{name}-{turn % 5}.txt", uuid4().hex[:12]
        began = time.monotonic()
        await change(document, f"{sentence(chance, 8)} The word is {word}. {sentence(chance, 8)}")
        while not await found(search, seen, word):
            if time.monotonic() - began > GIVES_UP_S:
                seen.lost += 1
                break
            await asyncio.sleep(LOOKS_S)
        seen.lags.setdefault(name, []).append(time.monotonic() - began)
        if turn % 3 == 2:
            await change(document, "")
            while await found(search, seen, word):  # noqa: ASYNC110 - a search is all there is to ask
                await asyncio.sleep(LOOKS_S)
            for _ in range(5):
                seen.stale += await found(search, seen, word)
                await asyncio.sleep(LOOKS_S)
        turn += 1
        await asyncio.sleep(chance.uniform(0.05, 0.3))


async def deleting(intake: Intake, search: Search, seen: Seen, until: float) -> None:
    """By call: gone when it returns."""
    while time.monotonic() < until:
        word = uuid4().hex[:12]
        await intake.take("acme", pb.Document(document_id=word, collection="push", text=f"The word is {word}."))
        seen.lost += not await found(search, seen, word)
        await intake.ingest.drop("acme", "push", [word])
        for _ in range(3):
            seen.stale += await found(search, seen, word)
        await asyncio.sleep(0.2)


async def load(intake: Intake, rate: float, until: float) -> int:
    """Brings new documents and changed ones, evenly."""
    chance, count, tasks = random.Random(7), 0, set[asyncio.Task[Any]]()
    due = time.monotonic()
    while time.monotonic() < until:
        document = pb.Document(document_id=f"d{chance.randrange(5000)}", collection="load", text=text_of(chance))
        task = asyncio.create_task(intake.take("acme", document))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        count, due = count + 1, due + 1 / rate
        await asyncio.sleep(max(due - time.monotonic(), 0))
    await asyncio.gather(*tasks)
    return count


async def main(seconds: float, rate: float) -> None:
    seen = Seen()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tw-")))
        os.chmod(folder, 0o755)
        url = await stack.enter_async_context(embedded.postgres(folder / "postgres"))
        broker_url = await stack.enter_async_context(embedded.nats(folder / "nats"))
        pool = await stack.enter_async_context(postgres.opened(url, "retrieval", MIGRATIONS, 10))
        rows = await stack.enter_async_context(asyncpg.create_pool(url, min_size=1, max_size=1))
        await rows.execute((ROOT / "docs" / "outbox.sql").read_text())
        shelf = folder / "shelf"
        shelf.mkdir()
        store, catalogue = EdgeStore(folder / "shard"), PostgresCatalogue(pool)
        store.open()
        stack.callback(store.close)
        encoding = Encoding(LocalEncoder(1), "bench", model=best_dense())  # type: ignore[arg-type]
        epochs = Epochs(catalogue)
        generations = Generations(Generation("first", store, encoding))
        ingest = Ingest(generations, catalogue, encoding, epochs)
        intake, search = Intake(ingest, catalogue), Search(generations)
        places = {"file": f"folder:{shelf}", "row": url, "message": broker_url}
        sources = {
            name: SourceSettings(url=where, tenant="acme", collection=name, topic=TOPIC)
            for name, where in places.items()
        }
        publisher = brokers.opened(broker_url)
        publisher.consume("tollway.bench.none", "none", _nothing)
        await publisher.start()
        stack.push_async_callback(publisher.close)

        async def file(name: str, text: str) -> None:
            await asyncio.to_thread((shelf / name).write_text if text else lambda _: (shelf / name).unlink(), text)

        async def row(name: str, text: str) -> None:
            await rows.execute(
                "INSERT INTO document_outbox (document_id, text, deleted) VALUES ($1, $2, $3)", name, text, not text
            )

        async def message(name: str, text: str) -> None:
            said = {"document_id": name, "text": text, "deleted": not text}
            await publisher.publish(TOPIC, name, json.dumps(said).encode())

        following = Following(generations, ingest.wake)
        kept = keeper(sources, catalogue, intake, ())
        await stack.enter_async_context(running(kept.run(), following.run(), epochs.follow(catalogue), store.run()))
        await asyncio.sleep(1.5)
        until = time.monotonic() + seconds
        with report.err.status(f"{rate:.0f} documents/s for {seconds:.0f} s"):
            loading = asyncio.create_task(load(intake, rate, until))
            await asyncio.gather(
                *(
                    changing(name, change, search, seen, until)
                    for name, change in (("file", file), ("row", row), ("message", message))
                ),
                deleting(intake, search, seen, until),
            )
            count = await loading
    every = [lag for lags in seen.lags.values() for lag in lags]
    facts: dict[str, Any] = {}
    lines = []
    for name, lags in (*seen.lags.items(), ("all", every)):
        p50, p99 = report.percentiles(lags)
        lines.append((name, len(lags), p50, p99))
        facts |= {name: {"changes": len(lags), "p50_s": p50, "p99_s": p99}}
    report.table("from a change to the first search that finds it", ("", "changes", "p50 s", "p99 s"), lines)
    p50, p99 = report.percentiles(every)
    searched = report.percentiles(seen.searches)
    report.finish({
        "lag_p50_s": p50, "lag_p99_s": p99, "stale_hits": seen.stale, "lost": seen.lost, "documents_per_second": count / seconds,
        "search_p50_ms": searched[0] * 1e3, "search_p99_ms": searched[1] * 1e3, "searches": len(seen.searches), **facts,
    })  # fmt: skip


async def _nothing(_: str, __: bytes) -> None:
    """Takes what nobody sends."""


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--rate", type=float, default=100.0, help="documents a second, besides what is measured")
    args = asked.parse_args()
    uvloop.run(main(args.seconds, args.rate))
