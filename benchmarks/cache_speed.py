"""What a look-up costs at several sizes: `python -m benchmarks.cache_speed [SIZES...]`.

Qdrant Edge in this process, prompts of about 35 tokens. Exact: the same request again. Miss: a prompt about something
else. Hit: a rewording that is proven by MiniLM, its first sight included. At 1,000,000 the stored vectors are synthetic.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import prompts, report
from benchmarks.cache_quality import entry
from benchmarks.local_encoder import LocalEncoder
from services.cache.cache import Cache
from services.cache.edge import EdgeStore
from services.cache.keys import Keys
from services.cache.screen import Screen
from services.cache.store import entry_id
from services.cache.verifier import Verifier

SYNTHETIC_FROM = 200_000
ASKED = 300


async def measured(size: int, encoder: LocalEncoder) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "shard")
        store.open()
        texts, chance = prompts.made(min(size, SYNTHETIC_FROM), seed=7), np.random.default_rng(1)
        hashes = [f"{n:064x}" for n in range(size)]
        for n in report.progress(range(size), f"{size:,} entries"):
            text = texts[n % len(texts)]
            vector = encoder.static.encode(text) if n < len(texts) else _unit(chance)
            one = entry(n, text, vector, "answer")
            await store.put(_as(one, hashes[n]))
        await store.count()
        cache = Cache(store, Screen(), Verifier(encoder), 0.9, now=lambda: 1.0)  # type: ignore[arg-type]
        others = prompts.made(ASKED, seed=99)
        picked = [texts[int(n)] for n in chance.integers(0, len(texts), ASKED)]
        seen: dict[str, list[float]] = {"exact_us": [], "miss_us": [], "hit_us": []}
        hits = 0
        for n in range(ASKED):
            number = int(chance.integers(0, size))
            await _timed(cache, seen["exact_us"], Keys("t", "s", hashes[number], "x"), None)
            await _timed(
                cache,
                seen["miss_us"],
                Keys("t", "s", "f" * 60 + f"{n:04x}", others[n]),
                encoder.static.encode(others[n]),
            )
            reworded = f"Please {picked[n][0].lower()}{picked[n][1:]}"
            vector = encoder.static.encode(reworded)
            hits += await _timed(cache, seen["hit_us"], Keys("t", "s", "e" * 60 + f"{n:04x}", reworded), vector)
        store.close()
    made: dict[str, Any] = {"hits_proven": hits / ASKED}
    for name, times in seen.items():
        p50, p99 = report.percentiles(times)
        made[name] = {"p50": p50 * 1e6, "p99": p99 * 1e6}
    return made


def _unit(chance: np.random.Generator) -> Any:
    made = chance.normal(size=256).astype(np.float32)
    return made / np.linalg.norm(made)


def _as(one: Any, exact: str) -> Any:
    return replace(one, exact=exact, id=entry_id(exact))


async def _timed(cache: Cache, times: list[float], keys: Keys, vector: Any) -> bool:
    began = time.perf_counter()
    hit, _ = await cache.find(keys, vector, None)
    times.append(time.perf_counter() - began)
    return hit is not None


async def main(sizes: list[int]) -> None:
    encoder = LocalEncoder()
    found = {size: await measured(size, encoder) for size in sizes}
    lines = [
        (f"{size:,}", *(one[name][p] for name in ("exact_us", "miss_us", "hit_us") for p in ("p50", "p99")))
        for size, one in found.items()
    ]
    heads = ("entries", "exact p50", "p99", "miss p50", "p99", "hit p50", "p99")
    report.table("microseconds", heads, lines)
    report.finish({str(size): one for size, one in found.items()})


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("sizes", type=int, nargs="*", default=[1_000, 10_000, 50_000])
    uvloop.run(main(asked.parse_args().sizes))
