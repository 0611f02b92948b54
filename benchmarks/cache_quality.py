"""Right and wrong hits of the semantic cache: `python -m benchmarks.cache_quality FILE`.

A `.jsonl` stream has puts, then gets: a hit is right when the answers are equal. The second pass asks each get again
with its own answers taken out, where any hit is false. A `.csv` has pairs a, b, label and kind: b is asked when a alone is
stored; traps are pairs with label 0. Texts that the shipped verifier was fitted on are left out of the count, though not
out of the store. `--threshold` changes the chance of being right from which a hit is served.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import report, rows
from benchmarks.injection_quality import auc
from benchmarks.local_encoder import LocalEncoder
from services.cache.app import Settings
from services.cache.cache import LEAST_COSINE, LEAST_STATIC, Cache
from services.cache.keys import Keys
from services.cache.memory import MemoryStore
from services.cache.screen import Screen
from services.cache.store import Entry
from services.cache.verifier import Pair, Verifier

FITTED = Path("services/cache/artefacts/verifier.fitted")


def entry(number: int, text: str, vector: Any, answer: str) -> Entry:
    return Entry(f"{number:032x}", "t", "s", f"{number}", text, vector, answer.encode(), "m", (), 0.0, 1e12)


async def streamed(found: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    encoder, store = LocalEncoder(), MemoryStore()
    cache = Cache(store, Screen(), Verifier(encoder), threshold, now=lambda: 1.0)  # type: ignore[arg-type]
    puts, gets = ([row for row in found if row["op"] == op] for op in ("put", "get"))
    for n, row in enumerate(report.progress(puts, "puts")):
        await store.put(entry(n, row["text"], encoder.static.encode(row["text"]), row["answer"]))
    known = rows.fitted(FITTED)
    scored, left_out = rows.unseen(gets, known, "text")
    right = wrong = false = 0
    for row in report.progress(scored, "gets"):
        keys, vector = Keys("t", "s", row["text"], row["text"]), encoder.static.encode(row["text"])
        hit, _ = await cache.find(keys, vector, None)
        if hit is not None:
            good = hit.entry.completion.decode() == row["answer"]
            right, wrong = right + good, wrong + (not good)
        false += await _without(cache, store, keys, vector, row["answer"])
    total = len(scored)
    return {
        "gets": total,
        "left_out_as_fitted": left_out,
        "right_hits": right / total,
        "wrong_hits": wrong / max(right + wrong, 1),
        "wrong_per_request": wrong / total,
        "misses": (total - right - wrong) / total,
        "false_hits_when_absent": false / total,
        "texts_that_met_minilm": encoder.proved,
    }


async def _without(cache: Cache, store: MemoryStore, keys: Keys, vector: Any, answer: str) -> bool:
    """Whether something is served although nothing right is stored."""
    own = {one: kept for one, kept in store._entries.items() if kept.completion.decode() == answer}
    for one in own:
        store._entries[one] = replace(own[one], scope="hidden")
    hit, _ = await cache.find(keys, vector, None)
    store._entries.update(own)
    return hit is not None


async def paired(found: list[dict[str, str]], threshold: float) -> dict[str, Any]:
    encoder = LocalEncoder()
    screen, verifier = Screen(), Verifier(encoder)  # type: ignore[arg-type]
    scored, left_out = rows.unseen(found, rows.fitted(FITTED), "a", "b")
    chances = []
    for row in report.progress(scored, "pairs"):
        a, b = row["a"], row["b"]
        static = float(encoder.static.encode(a) @ encoder.static.encode(b))
        first, second = await verifier.minilm([a, b])
        cosine = float(first @ second)
        able = static >= LEAST_STATIC and cosine >= LEAST_COSINE and screen.plausible(b, [(a, static)])[0]
        chances.append(
            float((await verifier.probabilities(b, [Pair(a, cosine, static)]))[0]) if able or a == b else 0.0
        )
    served, labels = np.array(chances) >= threshold, np.array([int(row["label"]) for row in scored])
    kinds: defaultdict[str, list[bool]] = defaultdict(list)
    for row, hit in zip(scored, served, strict=True):
        kinds[f"{row.get('kind') or 'all'}/{'same' if row['label'] == '1' else 'trap'}"].append(bool(hit))
    facts: dict[str, Any] = {
        "pairs": len(scored),
        "left_out_as_fitted": left_out,
        "traps_served": float(served[labels == 0].mean()) if (labels == 0).any() else 0.0,
        "right_hits": float(served[labels == 1].mean()) if (labels == 1).any() else 0.0,
        "by_kind": {kind: float(np.mean(hits)) for kind, hits in sorted(kinds.items())},
    }
    if 0 < labels.sum() < len(labels):
        facts["auc"] = auc(np.array(chances), labels)
    return facts


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("file", type=Path)
    asked.add_argument("--threshold", type=float, default=Settings().threshold)
    args = asked.parse_args()
    work = (
        streamed(rows.jsonl(args.file), args.threshold)
        if args.file.suffix == ".jsonl"
        else paired(rows.table(args.file), args.threshold)
    )
    facts = {"threshold": args.threshold, **uvloop.run(work)}
    shown = [(name, value) for name, value in facts.items() if name != "by_kind"]
    report.table(args.file.name, ("measure", "value"), shown)
    report.finish(facts)


if __name__ == "__main__":
    main()
