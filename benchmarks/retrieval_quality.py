"""How well documents are found: `python -m benchmarks.retrieval_quality DIR`.

DIR has a corpus in BEIR's layout: `corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text) and `qrels.tsv`. Documents are
brought in and searched as the service does, on Qdrant Edge, with all dense vectors there and graphs built; a document stands where its best
passage stands. Beside it, in the same run: BM25 alone, the dense model alone, and plain reciprocal rank fusion of the two; and `held_out`:
each query in the order whose weights were the best for the other half of the queries, over several halvings. Intervals are of 95 %,
by bootstrap over the queries. `--dense minilm` shows what is searched where BGE-small is not installed.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import uvloop

from benchmarks import report
from benchmarks.local_encoder import LocalEncoder, best_dense
from services.retrieval import ranking
from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.documents import Document
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import BGE_SMALL, MINILM, Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest
from services.retrieval.quality import mean, ndcg, recall
from services.retrieval.search import CANDIDATES, Search, Wish
from services.retrieval.store import Found, Question, Scope, Vector

WIDE, FIRST = 300, 50
"""Passages that are asked for: of the service for its nDCG as few as hold ten documents, since it looks no further than it must."""
RRF_K = 60.0
BATCH = 256
GRID: Mapping[str, Sequence[Any]] = {
    "WEIGHTS": [{**ranking.WEIGHTS, "dense": one} for one in (0.5, 0.7, 1.0, 1.4, 2.0)],
    "FLOOR": (0.0, 0.2, 0.4),
    "SHARPNESS": (1.0, 2.0, 3.0),
    "SHARE": (0.0, 0.25, 0.5, 0.75),
}
"""What the order is made with."""
SPLITS = 5
Relevant = dict[str, dict[str, float]]
Known = Mapping[str, str]
"""The document of each passage."""
Ranked = Callable[[Found, Known], list[str]]
OWN = "tollway"


def read(folder: Path) -> tuple[list[dict[str, str]], dict[str, str], Relevant]:
    """The corpus, the queries that somebody judged, and the judgements."""
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    queries = {row["_id"]: row["text"] for row in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    relevant: Relevant = {}
    with (folder / "qrels.tsv").open(newline="") as lines:
        for row in csv.reader(lines, delimiter="\t"):
            if row[0] in queries and float(row[-1]) > 0:
                relevant.setdefault(row[0], {})[row[-2]] = float(row[-1])
    return corpus, {one: text for one, text in queries.items() if one in relevant}, relevant


async def brought(
    corpus: Sequence[Mapping[str, str]], ingest: Ingest, store: EdgeStore, encoding: Encoding
) -> dict[str, str]:
    """The document of each passage."""
    for row in report.progress(corpus, "documents"):
        if row["text"].strip():
            await ingest.bring("t", Document(row["_id"], "c", row.get("title", ""), row["text"]))
    waiting = list(await store.without_dense(1_000_000))
    for start in report.progress(range(0, len(waiting), BATCH), encoding.model):
        part = waiting[start : start + BATCH]
        vectors = await encoding.dense([one.searched for one in part])
        await store.add_dense("t", {one.id: vector for one, vector in zip(part, vectors, strict=True)})
    return {one.id: one.document_id for one in waiting}


def documents(ids: Iterable[str], known: Known) -> list[str]:
    """Each document once, where its first passage stands."""
    return list(dict.fromkeys(known[one] for one in ids))


def alone(way: str) -> Ranked:
    return lambda found, known: documents((hit.id for hit in found.get(way, ())), known)


def reciprocal(found: Found, known: Known) -> list[str]:
    """Reciprocal rank fusion of words and dense vectors (Cormack, Clarke and Büttcher 2009)."""
    totals: dict[str, float] = {}
    for way in ("bm25", "dense"):
        for rank, one in enumerate(alone(way)(found, known)):
            totals[one] = totals.get(one, 0.0) + 1 / (RRF_K + rank + 1)
    return sorted(totals, key=lambda one: -totals[one])


BASELINES: dict[str, Ranked] = {
    "bm25": alone("bm25"),
    "dense": alone("dense"),
    "rrf": reciprocal,
}


def said(name: str, values: Sequence[float]) -> dict[str, Any]:
    made = mean(values)
    return {name: made.mean, f"{name}_interval": [made.low, made.high]}


async def found(search: Search, text: str, most: int) -> list[str]:
    """Documents as the service finds them; of those that say the same, the others after the best."""
    ranked = await search.search(text, None, Scope("t", "c"), Wish(most))
    return list(dict.fromkeys(name for one in ranked for name in (one.passage.document_id, *one.also_in)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A query before anything is weighed."""

    text: str
    found: Found
    vectors: Mapping[str, Vector]
    relevant: Mapping[str, float]

    def ndcg(self, known: Known) -> float:
        """With the weights that [ranking][services.retrieval.ranking] has at the moment."""
        scored = ranking.fused(self.found, CANDIDATES)
        near = {one.id: self.vectors[one.id] for one in scored[: ranking.COMPANY] if one.id in self.vectors}
        scored = ranking.in_company(self.text, scored, near)
        return ndcg(documents((one.id for one in scored), known), self.relevant)


def held_out(asked: Sequence[Asked], known: Known) -> list[float]:
    """Of each query, by weights that it had no part in choosing; the mean over the halvings."""
    rows = []
    for values in report.progress(list(product(*GRID.values())), "weights"):
        with patch.multiple(ranking, **dict(zip(GRID, values, strict=True))):
            rows.append([one.ndcg(known) for one in asked])
    gains = np.array(rows)
    chance, made = np.random.default_rng(1), np.zeros(len(asked))
    for _ in range(SPLITS):
        mixed = chance.permutation(len(asked))
        for own, other in ((mixed[::2], mixed[1::2]), (mixed[1::2], mixed[::2])):
            made[own] += gains[gains[:, other].mean(axis=1).argmax(), own] / SPLITS
    return [float(one) for one in made]


async def measured(folder: Path, dense: str) -> dict[str, Any]:
    corpus, queries, relevant = read(folder)
    encoder: Any = LocalEncoder(2)
    encoding = Encoding(encoder, model=dense)
    with tempfile.TemporaryDirectory() as place:
        store = EdgeStore(Path(place) / "shard")
        store.open()
        catalogue = MemoryCatalogue()
        generations = Generations(Generation("first", store, encoding))
        ingest, search = Ingest(generations, catalogue, encoding, Epochs(catalogue)), Search(generations)
        known = await brought(corpus, ingest, store, encoding)
        with report.err.status("graphs"):
            await store.tidy()
        gains: dict[str, list[float]] = {name: [] for name in (OWN, *BASELINES)}
        recalls: dict[str, list[float]] = {name: [] for name in (OWN, *BASELINES)}
        asked = []
        for one, text in report.progress(list(queries.items()), "queries"):
            gains[OWN].append(ndcg(await found(search, text, FIRST), relevant[one]))
            recalls[OWN].append(recall(await found(search, text, WIDE), relevant[one]))
            question = Question(text, None, await encoding.question(text))
            plain = await store.search(question, Scope("t", "c"), WIDE)
            near = {way: hits[:CANDIDATES] for way, hits in plain.items()}
            vectors = await store.dense_of("t", list({hit.id for hits in near.values() for hit in hits}))
            asked.append(Asked(text, near, vectors, relevant[one]))
            for name, ranked in BASELINES.items():
                order = ranked(plain, known)
                gains[name].append(ndcg(order, relevant[one]))
                recalls[name].append(recall(order, relevant[one]))
        store.close()
    told = {name: {**said("ndcg10", gains[name]), **said("recall100", recalls[name])} for name in gains}
    told["held_out"] = said("ndcg10", held_out(asked, known))
    own = told.pop(OWN)
    return {"documents": len(corpus), "queries": len(queries), "model": dense, **own, **told}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--dense", choices=(BGE_SMALL, MINILM), default=best_dense(), help="the dense model")
    args = asked.parse_args()
    made = uvloop.run(measured(args.folder, args.dense))
    lines = [
        (name, one["ndcg10"], "{:.3f} to {:.3f}".format(*one["ndcg10_interval"]), one.get("recall100", ""))
        for name, one in ((OWN, made), *((name, made[name]) for name in ("held_out", *BASELINES)))
    ]
    report.table(f"{args.folder.name}: {made['queries']} queries", ("", "nDCG@10", "95 %", "recall@100"), lines)
    report.finish(made)


if __name__ == "__main__":
    main()
