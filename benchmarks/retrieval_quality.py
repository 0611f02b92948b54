"""How well documents are found: `python -m benchmarks.retrieval_quality DIR`.

DIR has a corpus in BEIR's layout: `corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text) and `qrels.tsv`. Documents are
brought in and searched as the service does, on Qdrant Edge, with all MiniLM vectors there and graphs built; a document stands where its best
passage stands. Beside it, in the same run: BM25 alone, MiniLM alone, and plain reciprocal rank fusion of the two. Intervals are
of 95 %, by bootstrap over the queries.
"""

import argparse
import asyncio
import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import report
from benchmarks.local_encoder import LocalEncoder
from services.retrieval.catalogue import MemoryCatalogue
from services.retrieval.documents import Document
from services.retrieval.edge import EdgeStore
from services.retrieval.encoding import Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest
from services.retrieval.quality import mean, ndcg, recall
from services.retrieval.ranking import fused
from services.retrieval.search import Search
from services.retrieval.store import Found, Question, Scope

WIDE = 300
"""Passages that are asked for."""
RRF_K = 60.0
BATCH = 256
Relevant = dict[str, dict[str, float]]
Known = Mapping[str, str]
"""The document of each passage."""
Ranked = Callable[[Found, Known], list[str]]


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
    corpus: Sequence[Mapping[str, str]], ingest: Ingest, store: EdgeStore, encoder: LocalEncoder
) -> dict[str, str]:
    """The document of each passage."""
    for row in report.progress(corpus, "documents"):
        if row["text"].strip():
            await ingest.bring("t", Document(row["_id"], "c", row.get("title", ""), row["text"]))
    waiting = list(await store.without_dense(1_000_000))
    for start in report.progress(range(0, len(waiting), BATCH), "MiniLM"):
        part = waiting[start : start + BATCH]
        vectors = await asyncio.to_thread(encoder.minilm.run, [one.searched for one in part])
        await store.add_dense({one.id: vector for one, vector in zip(part, vectors, strict=True)})
    return {one.id: one.document_id for one in waiting}


def documents(ids: Iterable[str], known: Known) -> list[str]:
    """Each document once, where its first passage stands."""
    return list(dict.fromkeys(known[one] for one in ids))


def alone(way: str) -> Ranked:
    return lambda found, known: documents((hit.id for hit in found.get(way, ())), known)


def reciprocal(found: Found, known: Known) -> list[str]:
    """Reciprocal rank fusion of words and MiniLM (Cormack, Clarke and Büttcher 2009)."""
    totals: dict[str, float] = {}
    for way in ("bm25", "dense"):
        for rank, one in enumerate(alone(way)(found, known)):
            totals[one] = totals.get(one, 0.0) + 1 / (RRF_K + rank + 1)
    return sorted(totals, key=lambda one: -totals[one])


RANKED: dict[str, Ranked] = {
    "tollway": lambda found, known: documents((one.id for one in fused(found, WIDE)), known),
    "bm25": alone("bm25"),
    "dense": alone("dense"),
    "rrf": reciprocal,
}


def said(name: str, values: Sequence[float]) -> dict[str, Any]:
    made = mean(values)
    return {name: made.mean, f"{name}_interval": [made.low, made.high]}


async def measured(folder: Path) -> dict[str, Any]:
    corpus, queries, relevant = read(folder)
    encoder = LocalEncoder(2)
    with tempfile.TemporaryDirectory() as place:
        store = EdgeStore(Path(place) / "shard")
        store.open()
        catalogue, encoding = MemoryCatalogue(), Encoding(encoder)  # type: ignore[arg-type]
        generations = Generations(Generation("first", store, encoding))
        ingest, search = (
            Ingest(generations, catalogue, encoding, Epochs(catalogue)),
            Search(generations),
        )
        known = await brought(corpus, ingest, store, encoder)
        with report.err.status("graphs"):
            await store.tidy()
        gains: dict[str, list[float]] = {name: [] for name in RANKED}
        recalls: dict[str, list[float]] = {name: [] for name in RANKED}
        for one, text in report.progress(list(queries.items()), "queries"):
            question = Question(text, encoder.static.encode(text), encoder.minilm.run([text])[0])
            plain = await store.search(question, Scope("t", "c"), WIDE)
            whole = await search.looked(question, Scope("t", "c"), WIDE)
            for name, ranked in RANKED.items():
                order = ranked(whole if name == "tollway" else plain, known)
                gains[name].append(ndcg(order, relevant[one]))
                recalls[name].append(recall(order, relevant[one]))
        store.close()
    told = {name: {**said("ndcg10", gains[name]), **said("recall100", recalls[name])} for name in RANKED}
    own = told.pop("tollway")
    return {"documents": len(corpus), "queries": len(queries), **own, **told}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    args = asked.parse_args()
    made = uvloop.run(measured(args.folder))
    lines = [
        (name, one["ndcg10"], "{:.3f} to {:.3f}".format(*one["ndcg10_interval"]), one["recall100"])
        for name, one in (("tollway", made), *((name, made[name]) for name in ("bm25", "dense", "rrf")))
    ]
    report.table(f"{args.folder.name}: {made['queries']} queries", ("", "nDCG@10", "95 %", "recall@100"), lines)
    report.finish(made)


if __name__ == "__main__":
    main()
