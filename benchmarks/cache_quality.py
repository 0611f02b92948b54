"""Right and wrong hits of the semantic cache: `python -m benchmarks.cache_quality FILE`.

A `.jsonl` stream has puts, then gets: a hit is right when the answers are equal, and is reported to the cache as the stream
runs; `without_feedback` tells how it does when nobody reports. Another pass asks each get again with its own answers taken
out, where any hit is false. Beside it stand MiniLM's cosine at fixed thresholds (`curve`, and the most right hits at no more
than 1 % wrong of requests) and, where `make bench-peers` has installed it, GPTCache at its default threshold.

A `.csv` has pairs a, b, label and kind: b is asked when a alone is stored; traps are pairs with label 0.

Texts that the shipped verifier was fitted on are left out of the count, though not out of the store. `--bound` is the share of
look-ups that may be answered wrongly, `--threshold` the chance of being right to begin with.
"""

import argparse
import json
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from msgspec.structs import replace

from benchmarks import report, rows
from benchmarks.injection_quality import auc
from benchmarks.local_encoder import LocalEncoder
from services.cache.app import Settings
from services.cache.bound import Bounds
from services.cache.cache import Age, Cache
from services.cache.keys import Keys
from services.cache.memory import MemoryStore
from services.cache.proof import Prover
from services.cache.screen import Screen
from services.cache.store import Entry
from services.cache.verifier import Verifier

FITTED = Path("services/cache/artefacts/verifier.fitted")
GPTCACHE = Path(".tools/peers/gptcache/bin/python")
GPTCACHE_THRESHOLD = 0.8
CURVE = (0.98, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
MOST_WRONG = 0.01
ANY = Age()


def entry(number: int, text: str, vector: Any, answer: str) -> Entry:
    return Entry(
        f"{number:032x}", "t", "s", f"{number}", text, vector, answer.encode(), "m", (), 0.0, 1e12, answer=answer
    )


def prover(encoder: LocalEncoder) -> Prover:
    return Prover(Screen(), Verifier(encoder))  # type: ignore[arg-type]


class Stream:
    """One stream, asked of caches of several kinds."""

    def __init__(self, found: list[dict[str, Any]], bounds: tuple[float, float], all_rows: bool) -> None:
        self._encoder, self._bounds = LocalEncoder(), bounds
        self._puts, gets = ([row for row in found if row["op"] == op] for op in ("put", "get"))
        known = frozenset[bytes]() if all_rows else rows.fitted(FITTED)
        self._gets, self.left_out = rows.unseen(gets, known, "text")

    async def _opened(self) -> tuple[Cache, MemoryStore]:
        store = MemoryStore()
        for n, row in enumerate(self._puts):
            await store.put(entry(n, row["text"], self._encoder.static.encode(row["text"]), row["answer"]))
        return Cache(store, prover(self._encoder), Bounds(*self._bounds), now=lambda: 1.0), store

    async def asked(self, feedback: bool) -> dict[str, float]:
        cache, _ = await self._opened()
        right = wrong = 0
        for row in report.progress(self._gets, "gets, with feedback" if feedback else "gets"):
            vector = self._encoder.static.encode(row["text"])
            hit, _ = await cache.find(Keys("t", "s", row["text"], row["text"]), vector, ANY)
            if hit is None:
                continue
            good = hit.entry.completion.decode() == row["answer"]
            right, wrong = right + good, wrong + (not good)
            if feedback:
                await cache.judge(hit.entry.id, "t", good)
        return {**_shares(right, wrong, len(self._gets)), "last_threshold": cache.bounds.of("t").threshold()}

    async def absent(self) -> float:
        """The share of gets that are served something although nothing right is stored."""
        cache, store = await self._opened()
        false = 0
        for row in report.progress(self._gets, "gets whose answers are absent"):
            own = {one: kept for one, kept in store._entries.items() if kept.completion.decode() == row["answer"]}
            for one in own:
                store._entries[one] = replace(own[one], scope="hidden")
            vector = self._encoder.static.encode(row["text"])
            hit, _ = await cache.find(Keys("t", "s", row["text"], row["text"]), vector, ANY)
            store._entries.update(own)
            false += hit is not None
        return false / len(self._gets)

    def cosine(self) -> dict[str, Any]:
        """MiniLM's cosine at fixed thresholds."""
        stored, asked = (np.concatenate([self._encoder.minilm.run([row["text"]]) for row in part])
                         for part in (self._puts, self._gets))  # fmt: skip
        likeness = asked @ stored.T
        right = np.array([self._puts[n]["answer"] == row["answer"]
                          for n, row in zip(likeness.argmax(axis=1), self._gets, strict=True)])  # fmt: skip
        best, total = likeness.max(axis=1), len(self._gets)
        curve = {
            str(at): _shares(int((right & (best >= at)).sum()), int((~right & (best >= at)).sum()), total)
            for at in CURVE
        }
        order = np.argsort(-best)
        wrong = np.cumsum(~right[order]) / total
        able = np.flatnonzero(wrong <= MOST_WRONG)
        most = float(right[order][: able[-1] + 1].sum() / total) if len(able) else 0.0
        return {"curve": curve, "right_at_1pct_wrong": most}

    def gptcache(self) -> dict[str, Any]:
        """GPTCache's own store, search and evaluation over the same vectors; nothing where it is not installed."""
        if not GPTCACHE.exists():
            return {}
        lines = [
            json.dumps(
                {**{name: row[name] for name in ("op", "text", "answer")}, "vector": [float(one) for one in vector]}
            )
            for row in [*self._puts, *self._gets]
            for vector in self._encoder.minilm.run([row["text"]])
        ]
        program = [str(GPTCACHE), "benchmarks/gptcache_peer.py", str(GPTCACHE_THRESHOLD)]
        done = subprocess.run(program, input="\n".join(lines), capture_output=True, text=True, check=True)
        served = [json.loads(line) for line in done.stdout.splitlines()]
        hits = [one == row["answer"] for one, row in zip(served, self._gets, strict=True) if one is not None]
        return {"gptcache": _shares(sum(hits), len(hits) - sum(hits), len(self._gets))}


def _shares(right: int, wrong: int, total: int) -> dict[str, float]:
    return {
        "right_hits": right / total,
        "wrong_hits": wrong / max(right + wrong, 1),
        "wrong_per_request": wrong / total,
        "misses": (total - right - wrong) / total,
    }


async def streamed(found: list[dict[str, Any]], bound: float, threshold: float, all_rows: bool) -> dict[str, Any]:
    stream = Stream(found, (bound, threshold), all_rows)
    made = {
        "gets": len(stream._gets),
        "left_out_as_fitted": stream.left_out,
        **await stream.asked(feedback=True),
        "without_feedback": await stream.asked(feedback=False),
        "false_hits_when_absent": await stream.absent(),
        "cosine": stream.cosine(),
    }
    return made | stream.gptcache()


async def paired(found: list[dict[str, str]], bound: float, threshold: float, all_rows: bool = False) -> dict[str, Any]:
    encoder = LocalEncoder()
    known = frozenset[bytes]() if all_rows else rows.fitted(FITTED)
    scored, left_out = rows.unseen(found, known, "a", "b")
    chances, cosines = [], []
    for row in report.progress(scored, "pairs"):
        a, b, store = row["a"], row["b"], MemoryStore()
        await store.put(entry(0, a, encoder.static.encode(a), a))
        cache = Cache(store, prover(encoder), Bounds(bound, threshold), now=lambda: 1.0)
        _, judged = await cache.explain(Keys("t", "s", b, b), encoder.static.encode(b), ANY)
        chances.append(1.0 if a == b else max((one.chance for one in judged), default=0.0))
        first, second = await encoder.minilm.encode([a, b])
        cosines.append(float(first @ second))
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
        facts["cosine"] = {"auc": auc(np.array(cosines), labels), "curve": {
            str(at): {"traps_served": float((np.array(cosines)[labels == 0] >= at).mean()),
                      "right_hits": float((np.array(cosines)[labels == 1] >= at).mean())}
            for at in CURVE
        }}  # fmt: skip
    return facts


def main() -> None:
    defaults = Settings()
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("file", type=Path)
    asked.add_argument("--bound", type=float, default=defaults.error_bound)
    asked.add_argument("--threshold", type=float, default=defaults.threshold)
    asked.add_argument("--all", action="store_true", help="count rows that the verifier was fitted on, too")
    args = asked.parse_args()
    work = (
        streamed(rows.jsonl(args.file), args.bound, args.threshold, args.all)
        if args.file.suffix == ".jsonl"
        else paired(rows.table(args.file), args.bound, args.threshold, args.all)
    )
    facts = {"bound": args.bound, "threshold": args.threshold, **uvloop.run(work)}
    shown = [(name, value) for name, value in facts.items() if not isinstance(value, dict)]
    report.table(args.file.name, ("measure", "value"), shown)
    beside = facts.get("cosine", {}).get("curve", {})
    heads = list(next(iter(beside.values()), {}))
    lines = [(f"cosine {at}", *(one[head] for head in heads)) for at, one in beside.items()]
    for name in ("without_feedback", "gptcache"):
        if name in facts:
            lines.append((name.replace("_", " "), *(facts[name][head] for head in heads)))
    if lines:
        report.table("beside it", ("", *heads), lines)
    report.finish(facts)


if __name__ == "__main__":
    main()
