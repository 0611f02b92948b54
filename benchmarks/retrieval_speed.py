"""How fast passages are found and brought in: `python -m benchmarks.retrieval_speed`.

Search as the service does it (the question encoded by both tiers, words and both vectors searched under tenant and access filters,
the order), on Qdrant Edge, its graphs built as the service builds them, at several sizes. How many times as long as among the fewest
passages a search takes is measured in turns with those. Questions have about 20 tokens, as those of public collections have. Passages
are made up: words by Zipf's law, static vectors by the mesh's encoder, dense ones by chance: a graph of those takes longer to search
than one of a model's vectors. Ingest is measured with real documents at the end of each size: read, cut, encoded, committed to
PostgreSQL, searchable.
"""

import argparse
import asyncio
import math
import os
import random
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop
from tollway.retrieval.v1 import retrieval_pb2 as pb

from benchmarks import prompts, report
from benchmarks.local_encoder import LocalEncoder, best_dense
from services.mesh import embedded
from services.retrieval.app import MIGRATIONS
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import BGE_SMALL, MINILM, Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest
from services.retrieval.intake import Intake
from services.retrieval.postgres import PostgresCatalogue
from services.retrieval.search import Search, Wish
from services.retrieval.store import EVERYBODY, Passage, Scope, passage_id
from services.runtime import postgres

VOCABULARY, WORDS, ASKED, OF_DOCUMENT, GROUPS = 30_000, 60, 12, 10, 8
WARMING, TURNS, WARMING_TURN, OF_TURN = 100, 10, 20, 100
INGESTED, TOGETHER = 300, 8


class Words:
    """Sentences whose words are as rare as in a language."""

    def __init__(self) -> None:
        self.chance = np.random.default_rng(5)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        common = [word for word in prompts.COMMON.read_text().split() if word.isalpha()]
        rare = self.chance.integers(3, 10, VOCABULARY - len(common))
        self.words = [*common, *("".join(self.chance.choice(letters, n)) for n in rare)]
        weights = 1 / np.arange(1, VOCABULARY + 1)
        self.bounds = np.cumsum(weights / weights.sum())

    def text(self, count: int = WORDS) -> str:
        chosen = np.searchsorted(self.bounds, self.chance.random(count))
        return " ".join(self.words[min(int(n), VOCABULARY - 1)] for n in chosen).capitalize() + "."


def document(words: Words, encoder: LocalEncoder, number: int, tenants: int) -> list[Passage]:
    tenant, name = f"t{number % tenants}", f"d{number}"
    dense = words.chance.normal(size=(OF_DOCUMENT, 384)).astype(np.float32)
    made = []
    for n in range(OF_DOCUMENT):
        text = words.text()
        made.append(
            Passage(
                id=passage_id(tenant, "c", name, "v", n), tenant=tenant, collection="c", document_id=name, version="v",
                title=name, uri="", text=text, header="", start=0, end=len(text), digest=f"{name}-{n}",
                readers=(f"g{number // tenants % GROUPS}",) if number // tenants % 2 else (EVERYBODY,), attributes={"kind": str(number % 4)},
                indexed=1.0, static=encoder.static.encode(text), dense=dense[n] / np.linalg.norm(dense[n]), ordinal=n,
                followed=True,
            )
        )  # fmt: skip
    return made


@dataclass(slots=True)
class Asking:
    """Questions of all tenants and groups, and how long each takes; in seconds."""

    words: Words
    tenants: int
    chance: random.Random = field(default_factory=lambda: random.Random(2))

    async def of(self, search: Search, count: int) -> list[float]:
        times = []
        for _ in range(count):
            tenant, group = f"t{self.chance.randrange(self.tenants)}", f"g{self.chance.randrange(GROUPS)}"
            question = self.words.text(ASKED)
            began = time.perf_counter()
            found = await search.search(question, None, Scope(tenant, "c", (EVERYBODY, group)), Wish(5))
            times.append(time.perf_counter() - began)
            assert found
        return times

    async def beside(self, search: Search, smallest: Search) -> tuple[list[float], float]:
        """Its times, and how many times those of the smallest they are: asked in turns, since machines change their pace."""
        times, ratios = list[float](), list[float]()
        for one in (search, smallest):
            await self.of(one, WARMING)
        for _ in range(TURNS):
            both = [(await self.of(one, WARMING_TURN + OF_TURN))[WARMING_TURN:] for one in (search, smallest)]
            times += both[0]
            ratios.append(median(both[0]) / median(both[1]))
        return times, median(ratios)


async def filled(store: EdgeStore, made: Iterable[list[Passage]]) -> float:
    """Brings passages in and has graphs built; how long the graphs took, in seconds."""
    for passages in made:
        await store.replace(passages[0].tenant, "c", passages[0].document_id, passages)
    began = time.perf_counter()
    with report.err.status("graphs"):
        await store.tidy()
    took = time.perf_counter() - began
    os.sync()  # what was just written is not what a search is measured beside
    return took


async def measured(sizes: list[int], tenants: int, dense: str) -> dict[str, Any]:
    words, encoder, facts = Words(), LocalEncoder(1), dict[str, Any]()
    asking = Asking(words, tenants)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        os.chmod(folder, 0o755)
        async with (
            embedded.postgres(Path(folder) / "postgres") as url,
            postgres.opened(url, "retrieval", MIGRATIONS, 8) as pool,
        ):
            catalogue, encoding = PostgresCatalogue(pool), Encoding(encoder, model=dense)  # type: ignore[arg-type]
            stores = [EdgeStore(Path(folder) / name) for name in ("growing", "smallest")]
            every = [Generations(Generation("first", store, encoding)) for store in stores]
            (growing, least), search, smallest = stores, Search(every[0]), Search(every[1])
            intake = Intake(Ingest(every[0], catalogue, encoding, Epochs(catalogue)), catalogue)
            for store in stores:
                store.open()
            first = [document(words, encoder, number, tenants) for number in range(sizes[0] // OF_DOCUMENT)]
            await filled(least, first)
            there = 0
            for size in sizes:
                numbers = report.progress(range(there // OF_DOCUMENT, size // OF_DOCUMENT), f"{size:,} passages")
                fresh = (
                    first[number] if number < len(first) else document(words, encoder, number, tenants)
                    for number in numbers
                )
                tidied = await filled(growing, fresh)
                there = size
                times, growth = await asking.beside(search, smallest)
                p50, p99 = report.percentiles(times)
                facts[str(size)] = {
                    "p50_ms": p50 * 1e3,
                    "p99_ms": p99 * 1e3,
                    "growth": growth,
                    "logarithm": math.log(size) / math.log(sizes[0]),
                    "documents_per_second": await brought(intake, words, str(size)),
                    "tidied_s": tidied,
                }
            for store in stores:
                store.close()
    return facts


async def brought(intake: Intake, words: Words, names: str) -> float:
    """Documents a second, several at once."""
    texts = [f"{words.text(80)}\n\n{words.text(80)}" for _ in range(INGESTED)]
    gate, began = asyncio.Semaphore(TOGETHER), time.perf_counter()

    async def one(n: int, text: str) -> None:
        async with gate:
            await intake.take("ingest", pb.Document(document_id=f"{names}-{n}", collection="c", text=text))

    await asyncio.gather(*(one(n, text) for n, text in enumerate(texts)))
    return INGESTED / (time.perf_counter() - began)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--sizes",
        default="10000,100000",
        help="passages, with commas between; 1000000 takes a quarter of an hour and 10 GB",
    )
    asked.add_argument("--tenants", type=int, default=10)
    asked.add_argument("--dense", choices=(BGE_SMALL, MINILM), default=best_dense(), help="the dense model")
    args = asked.parse_args()
    facts = uvloop.run(measured([int(one) for one in args.sizes.split(",")], args.tenants, args.dense))
    rows = [
        (f"{int(size):,}", *(one[name] for name in ("p50_ms", "p99_ms", "growth", "logarithm", "documents_per_second")))
        for size, one in facts.items()
    ]
    heads = ("passages", "p50 ms", "p99 ms", "times the smallest", "as the logarithm", "documents/s in")
    report.table(f"{args.tenants} tenants, {args.dense}", heads, rows)
    report.finish({"tenants": args.tenants, "model": args.dense, **facts})


if __name__ == "__main__":
    main()
