"""What fresh documents are worth: `python -m benchmarks.grounding`.

A company's documents (tariffs of many bridges, made up here) keep changing for a day of a simulated clock; questions about them come all day. The
share of questions whose right and current answer stands in the retrieved context is told for three ways of keeping the index: none
(what was there when the project began), a batch every night, and streaming, each document as it changes. What it costs is told beside it: how many
passages were encoded, and the time that took. The index is Qdrant Edge with all vectors, the search the service's own; `--plot FILE` draws it by the hour.
"""

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.local_encoder import LocalEncoder, best_dense
from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.documents import Document
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.following import Following
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest
from services.retrieval.quality import covered
from services.retrieval.search import Search, Wish
from services.retrieval.store import Scope

BRIDGES, DAYS, HOURS = 120, 2, 24
CHANGES, QUESTIONS = 12, 15
"""An hour, of all bridges together. Night is from 0 to 6, when nothing changes and nobody asks; the batch runs at 0."""
WAKES = 6
CONTEXT = 3
KINDS = ("car", "lorry", "bus", "bicycle")
NAMES = "Alder Birch Cedar Dove Elm Falcon Grey Hazel Iris Juniper Kestrel Linden Maple Nettle Oak Pine Quail Rowan Sorrel Thorn".split()
PLACES = "Ford Gate Mill Park Quay Reach".split()


@dataclass(slots=True)
class World:
    """What is true now."""

    chance: random.Random
    fees: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [f"{name} {place}" for name in NAMES for place in PLACES][:BRIDGES]
        self.fees = {name: {kind: self.chance.randrange(2, 90) for kind in KINDS} for name in names}

    def change(self) -> str:
        """The bridge whose tariff is another now. Few change often, as in any company."""
        name = list(self.fees)[min(int(self.chance.expovariate(1 / 25)), BRIDGES - 1)]
        self.fees[name][self.chance.choice(KINDS)] = self.chance.randrange(2, 90)
        return name

    def question(self) -> tuple[str, str]:
        name = list(self.fees)[min(int(self.chance.expovariate(1 / 25)), BRIDGES - 1)]
        kind = self.chance.choice(KINDS)
        asked = self.chance.choice(
            (
                f"What does a {kind} pay at {name} bridge?",
                f"toll for a {kind}, {name}",
                f"How much is {name} bridge by {kind}?",
            )
        )
        return asked, f"a {kind} pays {self.fees[name][kind]} crowns"

    def document(self, name: str) -> Document:
        fees = ". ".join(f"At {name} bridge a {kind} pays {fee} crowns" for kind, fee in self.fees[name].items())
        history = f"{name} bridge was built in {1800 + sum(map(ord, name)) % 150} and crosses the river at {name.split()[1].lower()}."
        return Document(
            name, "tariffs", f"Tariff of {name} bridge", f"# History\n\n{history}\n\n# Tariff\n\n{fees}.", True
        )


@dataclass(slots=True)
class Index:
    """One way of keeping documents findable."""

    name: str
    ingest: Ingest
    search: Search
    following: Following
    right: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in range(DAYS * HOURS)])
    encoded: int = 0
    took_s: float = 0.0

    async def bring(self, documents: list[Document]) -> None:
        began = time.perf_counter()
        for one in documents:
            self.encoded += (await self.ingest.bring("t", one)).embedded
        while await self.following.step():
            pass
        self.took_s += time.perf_counter() - began

    async def ask(self, hour: int, question: str, answer: str) -> None:
        found = await self.search.search(question, None, Scope("t"), Wish(CONTEXT))
        self.right[hour][0] += covered("\n".join(one.passage.text for one in found), answer)
        self.right[hour][1] += 1

    @property
    def share(self) -> float:
        return sum(right for right, _ in self.right) / sum(asked for _, asked in self.right)


def opened(name: str, folder: Path, encoder: Any) -> Index:
    store, catalogue, encoding = (
        EdgeStore(folder / name),
        MemoryCatalogue(),
        Encoding(encoder, "key", model=best_dense()),
    )
    store.open()
    generations = Generations(Generation("first", store, encoding))
    ingest = Ingest(generations, catalogue, encoding, Epochs(catalogue))
    return Index(name, ingest, Search(generations), Following(generations, asyncio.Event()))


async def measured(seed: int) -> list[Index]:
    world, encoder = World(random.Random(seed)), LocalEncoder(2)
    with tempfile.TemporaryDirectory() as place:
        ways = none, nightly, streaming = [
            opened(name, Path(place), encoder) for name in ("none", "nightly", "streaming")
        ]
        for index in ways:
            await index.bring([world.document(name) for name in world.fees])
            index.encoded, index.took_s = 0, 0.0
        for hour in report.progress(range(DAYS * HOURS), "hours"):
            if hour % HOURS == 0:
                await nightly.bring([world.document(name) for name in world.fees])  # a batch reads everything
            if hour % HOURS < WAKES:
                continue
            events = ["change"] * CHANGES + ["ask"] * QUESTIONS
            world.chance.shuffle(events)
            for event in events:
                if event == "change":
                    await streaming.bring([world.document(world.change())])
                    continue
                question, answer = world.question()
                for index in (none, nightly, streaming):
                    await index.ask(hour, question, answer)
        return ways


def plot(ways: list[Index], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.5))
    for index in ways:
        hours = [hour for hour, (_, asked) in enumerate(index.right) if asked]
        axes.plot(hours, [index.right[hour][0] / index.right[hour][1] for hour in hours], marker=".", label=index.name)
    axes.set(xlabel="hour", ylabel="answered from what is true now", ylim=(0, 1.05))
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--plot", type=Path)
    args = asked.parse_args()
    ways = uvloop.run(measured(args.seed))
    rows = [(one.name, one.share, one.encoded, one.took_s) for one in ways]
    report.table(
        f"{BRIDGES} documents, {CHANGES} changes and {QUESTIONS} questions an hour",
        ("index", "right and current", "passages encoded", "s"),
        rows,
    )
    if args.plot:
        plot(ways, args.plot)
    by_name = {one.name: one for one in ways}
    report.finish({
        **{one.name: {"answered": one.share, "encoded": one.encoded, "took_s": one.took_s} for one in ways},
        "streaming_above_nightly": by_name["streaming"].share / by_name["nightly"].share - 1,
    })  # fmt: skip


if __name__ == "__main__":
    main()
