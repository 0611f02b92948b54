"""Whether a sick model makes the healthy ones slow: one answers in 50 ms, another takes 5 s and then hangs.

Both are asked at random times that wait for nobody (open loop), the sick one twice as often as the calls it bears
allow; each is also measured alone. LiteLLM, where it is installed (`make bench-peers`), goes through the same, with the
same limits set. `--plot FILE` draws what the callers of the healthy model saw.
"""

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop

from benchmarks import processes, report
from benchmarks.gateway_load import PEERS, Gateway, litellm_running, tollway_running
from benchmarks.open_loop import Seen, offered
from benchmarks.sick import SICK_S, Sickness, providers

PORT = 18180
MOST, SLOWEST_S, PATIENCE_S = 50, 8.0, 20.0
"""Calls under way that the sick model bears; how long a provider may stay silent; how long a caller waits."""
HEALTHY_PER_S = 20.0
SICK_PER_S = 2 * MOST / SICK_S


def tollway(folder: Path, healthy: int, sick: int) -> contextlib.AbstractContextManager[Gateway]:
    entries = {
        name: {"model": name, "base_url": f"http://127.0.0.1:{port}/v1", "concurrency": MOST, "first_byte_s": SLOWEST_S}
        for name, port in (("healthy", healthy), ("sick", sick))
    }
    prices = '{healthy: {input: "1", output: "2"}, sick: {input: "1", output: "2"}}'
    return tollway_running(
        folder, PORT, {"TOLLWAY_MODELS__CATALOGUE": json.dumps(entries), "TOLLWAY_LEDGER__PRICES": prices}
    )


def litellm(folder: Path, healthy: int, sick: int) -> contextlib.AbstractContextManager[Gateway]:
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": "openai/mock",
                "api_base": f"http://127.0.0.1:{port}/v1",
                "api_key": "none",
                "timeout": SLOWEST_S,
                "max_parallel_requests": MOST,
                "max_retries": 0,
            },
        }
        for name, port in (("healthy", healthy), ("sick", sick))
    ]
    told = {"num_retries": 0, "allowed_fails": 5, "cooldown_time": 2}
    return litellm_running(folder, PORT + 1, {"model_list": models, "router_settings": told})


def resident(pid: int) -> int:
    """Bytes that the gateway's processes hold."""
    return sum(psutil.Process(one).memory_info().rss for one in processes.family(pid) if psutil.pid_exists(one))


async def measured(gateway: Gateway, sickness: Sickness, seconds: float) -> dict[str, Any]:
    """The healthy model alone, then beside the sick one."""
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    headers = {"authorization": f"Bearer {gateway.key}"}
    alone, beside, sick = (Seen(one) for one in ("alone", "beside", "sick"))
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:

        async def offer(model: str, per_second: float, for_s: float, seen: Seen) -> None:
            await offered(http, url, model, per_second, for_s, PATIENCE_S, seen)

        await offer("healthy", HEALTHY_PER_S, 3.0, Seen("warming up"))
        told = await cancelled(http, url, sickness)
        await offer("healthy", HEALTHY_PER_S, seconds, alone)
        before, most = resident(gateway.pid), 0
        sickness.hangs_at = time.perf_counter() + seconds / 2
        both = asyncio.gather(
            offer("sick", SICK_PER_S, seconds, sick), offer("healthy", HEALTHY_PER_S, seconds, beside)
        )
        while not both.done():
            most = max(most, resident(gateway.pid))
            await asyncio.wait([both], timeout=0.5)
        await both
    (alone_p50, alone_p99), (p50, p99) = (report.percentiles(one.took) for one in (alone, beside))
    return {
        "healthy_p99_ratio": p99 / alone_p99,
        "alone_p50_ms": alone_p50 * 1e3,
        "alone_p99_ms": alone_p99 * 1e3,
        "beside_p50_ms": p50 * 1e3,
        "beside_p99_ms": p99 * 1e3,
        "healthy": beside.statuses,
        "sick": sick.statuses,
        "lost": alone.lost + beside.lost + sick.lost,
        "grew_mb": (most - before) / 1e6,
        "cancel_ms": None if told is None else told * 1e3,
        "points": list(zip(beside.began, beside.took, strict=True)),
    }


async def cancelled(http: aiohttp.ClientSession, url: str, sickness: Sickness) -> float | None:
    """Seconds from a caller's leaving until the provider knows, the longest of twenty; None when it is not told."""
    told = []
    for n in range(20):
        body = {"model": "sick", "messages": [{"role": "user", "content": f"Never mind, {n}."}]}
        asked = asyncio.ensure_future(http.post(url, json=body))
        await asyncio.sleep(0.2)
        sickness.left.clear()
        left = time.perf_counter()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        try:
            async with asyncio.timeout(1.0):
                await sickness.left.wait()
        except TimeoutError:
            return None
        told.append(time.perf_counter() - left)
    return max(told)


def drawn(found: dict[str, dict[str, Any]], seconds: float, file: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(found), 1, sharex=True, sharey=True, figsize=(8, 2.4 * len(found)), squeeze=False
    )
    for (name, one), axis in zip(found.items(), axes[:, 0], strict=True):
        axis.axvspan(0, seconds / 2, color="#f4d06f", alpha=0.35, lw=0, label="the other model takes 5 s")
        axis.axvspan(seconds / 2, seconds, color="#d1495b", alpha=0.25, lw=0, label="the other model hangs")
        axis.scatter(*zip(*((at, took * 1e3) for at, took in one["points"]), strict=True), s=4, color="#1d3557")
        axis.axhline(one["alone_p99_ms"], color="#1d3557", lw=0.8, ls="--", label="p99 alone")
        axis.set_yscale("log")
        axis.set_ylabel(f"{name}\nms")
    axes[0, 0].legend(loc="upper left", fontsize=7, ncols=3)
    axes[-1, 0].set_xlabel("seconds")
    axes[0, 0].set_title("What callers of a healthy model (50 ms) see beside a sick one", fontsize=10)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})


async def main(seconds: float, plot: Path | None, only: list[str]) -> None:
    gateways: dict[str, Callable[..., Any]] = {"tollway": tollway}
    if (PEERS / "litellm/bin/litellm").exists():
        gateways["litellm"] = litellm
    found = {}
    for name, opened in gateways.items():
        if only and name not in only:
            continue
        report.err.print(f"{name}: {2 * seconds + 15:.0f} s")
        with tempfile.TemporaryDirectory(prefix="tw-") as folder:
            os.chmod(folder, 0o755)  # the database runs as another user where we are root
            sickness = Sickness()
            async with providers(sickness) as (healthy, sick):
                with opened(Path(folder), healthy, sick) as gateway:
                    found[name] = await measured(gateway, sickness, seconds)
    keys = ("alone_p99_ms", "beside_p99_ms", "healthy_p99_ratio", "lost", "grew_mb", "cancel_ms")
    report.table(
        "a healthy model beside a sick one",
        ("gateway", *keys, "sick calls ended"),
        [(name, *(one[key] for key in keys), str(one["sick"])) for name, one in found.items()],
    )
    if plot is not None:
        drawn(found, seconds, plot)
    for one in found.values():
        del one["points"]
    facts = dict(found.get("tollway", {}))
    if "litellm" in found:
        facts["peer"] = {"name": "litellm", **found["litellm"]}
    report.finish(facts)


if __name__ == "__main__":
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    wanted.add_argument("--plot", type=Path, metavar="FILE", help="an SVG to draw")
    wanted.add_argument("--only", nargs="+", default=[], help="of tollway, litellm")
    args = wanted.parse_args()
    uvloop.run(main(args.seconds, args.plot, args.only))
