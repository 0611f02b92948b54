"""Where the microseconds of one request go: the whole mesh in this process, driven without a socket of its own.

Prints CPU a request, and with `--profile` what a profile says of each step (a profile slows small functions down, so
its shares are worth more than its sums).
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import processes, prompts, report
from services.edge import app as edge
from services.mesh import embedded, ledgers, together
from services.mesh.plan import Plan, Up
from services.runtime.channels import PLAIN
from services.runtime.settings import load

UPSTREAM_PORT = 18998
STEPS = {
    "edge": "services/edge/application.py:(_answered)",
    "orchestrator": "services/orchestrator/service.py:(Complete)",
    "guard, prompt": "services/guard/service.py:(InspectPrompt)",
    "guard, answer": "services/orchestrator/road.py:(restored)",
    "encoder": "services/encoder/service.py:(Encode)",
    "cache, look up": "services/cache/service.py:(Lookup)",
    "cache, store": "services/cache/service.py:(Store)",
    "router": "services/router/service.py:(Route)",
    "ledger, reserve": "services/ledger/service.py:(Reserve)",
    "ledger, settle": "services/ledger/service.py:(Settle)",
    "models and provider": "services/models/service.py:(Generate)",
    "validation": "services/runtime/status.py:(_checked)",
}


async def asked(application: Any, key: str, text: str) -> int:
    """One request through the ASGI application; its status."""
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": text}]}).encode()
    events = [{"type": "http.request", "body": body}]
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    status = 0

    async def receive() -> MutableMapping[str, Any]:
        if events:
            return events.pop()
        await gone
        return {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = event.get("status", status)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions",
             "headers": [(b"authorization", f"Bearer {key}".encode())]}  # fmt: skip
    await application(scope, receive, send)
    return status


async def main(number: int, profiled: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        os.chmod(folder, 0o755)  # the database runs as another user where we are root
        mock = {"mock": {"model": "mock", "base_url": f"http://127.0.0.1:{UPSTREAM_PORT}/v1"}}
        plan = Plan(Path(folder), port=0, grpc_port=0, catalogue=mock)
        plan.run.mkdir()
        async with embedded.postgres(plan.state / "postgres") as url, embedded.nats(plan.state / "nats") as broker:
            plan.write(url, broker)
            environ = {**os.environ, "TOLLWAY_CONFIG": str(plan.file), "TOLLWAY_MODELS__LOCAL": "false",
                       "TOLLWAY_EDGE__TRACING__PER_SECOND": "0", "TOLLWAY_EDGE__TRACING__SHARE": "0",
                       "TOLLWAY_LEDGER__PRICES": '{mock: {input: "1", output: "2"}}'}  # fmt: skip

            async def driven(ups: list[Up]) -> None:
                key = await ledgers.development_key(
                    plan.state, next(up.address for up in ups if up.name == "ledger"), PLAIN
                )
                async with edge.app(load(edge.Settings, environ, "edge")) as application:
                    texts = prompts.made(number + 500)
                    for text in texts[:500]:
                        await asked(application, key, text)
                    profile = cProfile.Profile()
                    if profiled:
                        profile.enable()
                    cpu, wall = time.process_time(), time.perf_counter()
                    statuses = [await asked(application, key, text) for text in texts[500:]]
                    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                    profile.disable()
                done = profile if profiled else None
                shown(cpu / number * 1e6, wall / number * 1e6, statuses.count(200), number, done)

            await together.run(environ, lambda up: None, driven)


def shown(cpu_us: float, wall_us: float, good: int, number: int, profile: cProfile.Profile | None) -> None:
    facts: dict[str, Any] = {"cpu_us_per_request": cpu_us, "us_per_request": wall_us, "failed": number - good}
    if profile is not None:
        stats = pstats.Stats(profile)
        found = {
            f"{file[file.find('services/') :]}:({name})": (numbers[3], numbers[0])
            for (file, _, name), numbers in stats.stats.items()  # type: ignore[attr-defined]
        }
        rows = [(step, found[place][0] / number * 1e6) for step, place in STEPS.items() if place in found]
        report.table("cumulative, as profiled", ("step", "us/request"), rows)
        facts["steps"] = dict(rows)
        if "-v" in sys.argv:
            stats.sort_stats("tottime").print_stats(60)
            stats.sort_stats("ncalls").print_stats(60)
    report.finish(facts)


if __name__ == "__main__":
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--requests", type=int, default=3000)
    wanted.add_argument("--profile", action="store_true")
    wanted.add_argument("-v", action="store_true", help="also print the functions that took most")
    args = wanted.parse_args()
    with processes.started([sys.executable, "-m", "benchmarks.upstream", str(UPSTREAM_PORT)]):
        processes.await_http(f"http://127.0.0.1:{UPSTREAM_PORT}/")
        uvloop.run(main(args.requests, args.profile))
