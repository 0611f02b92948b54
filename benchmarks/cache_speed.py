"""What a look-up costs at several sizes: `python -m benchmarks.cache_speed [SIZES...] [--tenants N]`.

Qdrant Edge in this process, prompts of about 35 tokens, spread over tenants, stored since it was started. Exact: the same request
again. Miss: a prompt about something else. Manners: the same words with a greeting before them. New hit: a rewording whose
candidates MiniLM meets for the first time. Hit: another rewording, whose candidates it has met, as it has those that were stored in
quiet times. Then it is started again. First: a tenant's first look-up, which reads its rows from the shard. Later: a miss after that,
when nobody knows the words of what was stored before. Beyond 200,000 the stored vectors are synthetic.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from msgspec.structs import replace

from benchmarks import prompts, report
from benchmarks.cache_quality import entry, prover
from benchmarks.local_encoder import LocalEncoder
from services.cache.bound import Bounds
from services.cache.cache import CANDIDATES, LEAST_STATIC, Age, Cache
from services.cache.edge import EdgeStore
from services.cache.keys import Keys
from services.cache.store import Entry, entry_id

SYNTHETIC_FROM = 200_000
ASKED = 300
STEPS = ("exact", "miss", "manners", "new_hit", "hit", "first", "later")


async def measured(size: int, tenants: int, encoder: LocalEncoder) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "shard")
        store.open()
        texts, chance = prompts.made(min(size, SYNTHETIC_FROM), seed=7), np.random.default_rng(1)
        for n in range(tenants):
            await store.nearest(f"s{n}", _unit(chance), 1, 1.0)
        for n in report.progress(range(size), f"{size:,} entries"):
            text = texts[n % len(texts)]
            vector = encoder.static.encode(text) if n < len(texts) else _unit(chance)
            await store.put(_as(entry(n, text, vector, "answer"), _hash(n), n % tenants))
        await store.count()
        seen: dict[str, list[float]] = {name: [] for name in STEPS}
        cache = Cache(store, prover(encoder), Bounds(0.01, 0.9), now=lambda: 1.0)

        async def look_up(step: str, asked: str, tenant: int, exact: str = _hash(-1)) -> bool:
            vector = encoder.static.encode(asked)
            began = time.perf_counter()
            hit, _ = await cache.find(Keys(f"t{tenant}", f"s{tenant}", exact, asked), vector, Age())
            seen[step].append(time.perf_counter() - began)
            return hit is not None

        hits = 0
        for other in prompts.made(ASKED, seed=99):
            picked = int(chance.integers(0, len(texts)))
            text, tenant = texts[picked], picked % tenants
            await look_up("exact", text, tenant, _hash(picked))
            await look_up("miss", other, tenant)
            reworded = f"{text[0].lower()}{text[1:]}"
            hits += await look_up("manners", f"Hello, {reworded}", tenant)
            hits += await look_up("new_hit", text.replace(", and mention ", ", and then also mention "), tenant)
            asked = text.replace(", and mention ", ", and also mention ")
            near = await store.nearest(f"s{tenant}", encoder.static.encode(asked), CANDIDATES, LEAST_STATIC)
            await cache.prover.verifier.minilm([one.text for one, _ in near])
            hits += await look_up("hit", asked, tenant)
        store.close()
        cache.store = again = EdgeStore(Path(folder) / "shard")
        again.open()
        for n, (first, later) in enumerate(
            zip(prompts.made(ASKED, seed=98), prompts.made(ASKED, seed=97), strict=True)
        ):
            await look_up("first", first, n % tenants)
            await look_up("later", later, n % tenants)
        again.close()
    made: dict[str, Any] = {"hits_proven": hits / (3 * ASKED)}
    for name, times in seen.items():
        p50, p99 = report.percentiles(times)
        made[f"{name}_us"] = {"p50": p50 * 1e6, "p99": p99 * 1e6}
    return made


def _hash(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _unit(chance: np.random.Generator) -> Any:
    made = chance.normal(size=256).astype(np.float32)
    return made / np.linalg.norm(made)


def _as(one: Entry, exact: str, tenant: int) -> Entry:
    return replace(one, exact=exact, id=entry_id(exact), tenant=f"t{tenant}", scope=f"s{tenant}")


async def main(sizes: list[int], tenants: int) -> None:
    encoder = LocalEncoder()
    found = {size: await measured(size, tenants, encoder) for size in sizes}
    lines = [
        (f"{size:,}", *(one[f"{name}_us"][p] for name in STEPS for p in ("p50", "p99"))) for size, one in found.items()
    ]
    heads = ("entries", *(head for name in STEPS for head in (f"{name.replace('_', ' ')} p50", "p99")))
    report.table(f"microseconds, {tenants:,} tenants", heads, lines)
    report.finish({"tenants": tenants, **{str(size): one for size, one in found.items()}})


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000])
    asked.add_argument("--tenants", type=int, default=1_000)
    given = asked.parse_args()
    uvloop.run(main(given.sizes, given.tenants))
