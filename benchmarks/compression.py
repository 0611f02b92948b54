"""How many answers survive when a text is shortened to a half and a quarter of its tokens.

The texts are handbooks with questions about them (`handbook.py`), about 4,000 tokens each. An answer is kept when the
sentence that holds it is left, and the one that says what it is about. Beside it: the text cut off at the budget, and
sentences dropped at random. With INPUT, a folder of documents with queries and judgements (`corpus.jsonl`,
`queries.jsonl`, `qrels.tsv`), the sentence of the right document that MiniLM thinks nearest to the query counts as the
one to keep, among eleven other documents.
"""

import argparse
import asyncio
import csv
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.handbook import Question, questions
from services.encoder import app as encoder
from services.encoder.static import StaticEncoder
from services.encoder.transformer import MINILM, Transformer
from services.models.compression import Compressor
from services.models.counting import Counter

FACTORS = (2, 4)
OTHERS = 11
Shorten = Callable[[list[str], str, int], Awaitable[list[str]]]


class Local:
    """The encoder service's stub, without a service."""

    def __init__(self) -> None:
        self.static = StaticEncoder(encoder.tokenizer())

    async def __call__(self, texts: list[str]) -> "np.typing.NDArray[np.float32]":
        return np.stack([self.static.encode(text) for text in texts])


def ways(count: Counter) -> dict[str, Shorten]:
    compressor, rng = Compressor(count, Local()), random.Random(7)

    async def ours(texts: list[str], query: str, budget: int) -> list[str]:
        return (await compressor.passages(texts, query, budget)).texts

    async def truncated(texts: list[str], query: str, budget: int) -> list[str]:
        kept = []
        for text in texts:
            words = text.split(" ")
            while words and count.text(" ".join(words)) > budget:
                words = words[: int(len(words) * min(budget / count.text(" ".join(words)), 0.98))]
            kept.append(" ".join(words))
            budget -= count.text(kept[-1])
        return kept

    async def dropped(texts: list[str], query: str, budget: int) -> list[str]:
        parts = [(n, one) for n, text in enumerate(texts) for one in re.split(r"(?<=[.!?\n])\s", text)]
        order, left = rng.sample(range(len(parts)), len(parts)), set[int]()
        for n in order:
            if (tokens := count.text(parts[n][1])) <= budget:
                budget -= tokens
                left.add(n)
        return [" ".join(parts[k][1] for k in sorted(left) if parts[k][0] == n) for n in range(len(texts))]

    return {"ours": ours, "truncated": truncated, "random": dropped}


async def kept(shorten: Shorten, asked: Iterable[Question], count: Counter, factor: int) -> tuple[float, list[float]]:
    """The share of answers that are left, and the seconds that each text took."""
    good, took = list[bool](), list[float]()
    for one in asked:
        budget = sum(count.text(text) for text in one.passages) // factor
        began = time.perf_counter()
        left = "\n".join(await shorten(one.passages, one.question, budget))
        took.append(time.perf_counter() - began)
        good.append(one.evidence in re.sub(r"\s+", " ", left))
        spent = count.text(left)
        if spent > budget + 2 * len(one.passages):
            raise AssertionError(f"{spent} tokens are left of a budget of {budget}")
    return float(np.mean(good)), took


async def judged(folder: Path, most: int) -> list[Question]:
    """Questions of a retrieval set: see the head of this file."""
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    documents = {row["_id"]: f"{row['title']}. {row['text']}" for row in rows}
    queries = {row["_id"]: row["text"] for row in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    with (folder / "qrels.tsv").open() as file:
        right = [
            (row["query-id"], row["corpus-id"]) for row in csv.DictReader(file, delimiter="\t") if int(row["score"])
        ]
    rng, minilm, made = random.Random(3), Transformer(MINILM, encoder.tokenizer()), list[Question]()
    names = list(documents)
    for query, document in report.progress(rng.sample(right, min(most, len(right))), "finding evidence"):
        if len(documents[document]) < 200 or query not in queries:
            continue
        sentences = [one for one in re.split(r"(?<=[.!?])\s+", documents[document]) if len(one) > 30]
        vectors = np.stack(await minilm.encode([queries[query], *sentences]))
        evidence = sentences[int(np.argmax(vectors[1:] @ vectors[0]))]
        texts = [documents[document], *(documents[name] for name in rng.sample(names, OTHERS))]
        rng.shuffle(texts)
        made.append(Question(texts, queries[query], evidence, re.sub(r"\s+", " ", evidence)))
    return made


async def main(number: int, folder: Path | None, most: int) -> None:
    count = Counter(encoder.tokenizer())
    sets = {"handbooks": list(questions(number))}
    if folder is not None:
        sets[folder.name] = await judged(folder, most)
    facts: dict[str, Any] = {}
    for name, asked in sets.items():
        rows = []
        tokens = float(np.mean([sum(count.text(text) for text in one.passages) for one in asked]))
        for way, shorten in ways(count).items():
            await kept(shorten, asked[:20], count, 2)
            row: dict[str, Any] = {}
            for factor in FACTORS:
                row[f"kept_at_{factor}x"], took = await kept(shorten, asked, count, factor)
                row["p50_ms"], row["p99_ms"] = (value * 1e3 for value in report.percentiles(took))
            rows.append((way, *row.values()))
            facts.setdefault(name, {})[way] = row
        facts[name]["tokens"] = tokens
        report.table(
            f"{name}: {len(asked)} questions, {tokens:,.0f} tokens each",
            ("way", *(key for factor in FACTORS for key in [f"kept at {factor}x"]), "p50 ms", "p99 ms"),
            [(way, *(one[key] for key in ("kept_at_2x", "kept_at_4x", "p50_ms", "p99_ms")))
             for way, one in facts[name].items() if isinstance(one, dict)],
        )  # fmt: skip
    report.finish({**facts["handbooks"]["ours"], **facts})


if __name__ == "__main__":
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("input", nargs="?", type=Path)
    wanted.add_argument("--number", type=int, default=400, help="of questions about handbooks")
    wanted.add_argument("--most", type=int, default=300, help="of INPUT's questions")
    args = wanted.parse_args()
    asyncio.run(main(args.number, args.input, args.most))
