"""Requests a second, latency and CPU a request of the whole mesh in one process, beside other gateways.

All stand before the same mock provider. Tollway guards, looks up its cache, routes, reserves and settles on every
request; the others forward. Each request asks something else. `make bench-peers` installs the others.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, processes, prompts, report

PEERS = Path(".tools/peers")
UPSTREAM_PORT, PORT = 18999, 18080


@dataclass(frozen=True, slots=True)
class Gateway:
    """One that stands before the provider: its process, port, and the head it wants."""

    pid: int
    port: int
    key: str
    model: str
    more: str = ""


@contextlib.contextmanager
def tollway_running(folder: Path, port: int, environ: Mapping[str, str], *arguments: str) -> Iterator[Gateway]:
    """The whole mesh in one process, its state in `folder`, without the small model."""
    state = folder / "state"
    command = [sys.executable, "-m", "services.mesh", "up", f"--state={state}", f"--port={port}", "--grpc-port=0"]
    with processes.started(
        [*command, *arguments], {"TOLLWAY_MODELS__LOCAL": "false", **environ}, folder / "tollway.log"
    ) as pid:
        until_file(state / "run" / "up.json")
        yield Gateway(pid, port, (state / "dev.key").read_text().strip(), "mock")


@contextlib.contextmanager
def tollway(folder: Path) -> Iterator[Gateway]:
    prices = {"TOLLWAY_LEDGER__PRICES": '{mock: {input: "1", output: "2"}}'}
    model = f"--model=mock=openai:mock@http://127.0.0.1:{UPSTREAM_PORT}/v1"
    with tollway_running(folder, PORT, prices, model) as one:
        budget = ["-m", "services.mesh", "budgets", "set", "dev", "1000000usd", f"--state={folder / 'state'}"]
        os.spawnv(os.P_WAIT, sys.executable, [sys.executable, *budget])
        yield one


@contextlib.contextmanager
def litellm_running(folder: Path, port: int, settings: dict[str, Any]) -> Iterator[Gateway]:
    """LiteLLM's proxy with one worker; `settings` are its models and what else it is told."""
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({**settings, "general_settings": {"master_key": "sk-bench"}}))
    program = [str(PEERS / "litellm/bin/litellm"), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    environ = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with processes.started(program, environ, folder / "litellm.log") as pid:
        processes.await_http(f"http://127.0.0.1:{port}/health/liveliness")
        yield Gateway(pid, port, "sk-bench", "mock")


def litellm(folder: Path) -> contextlib.AbstractContextManager[Gateway]:
    base = f"http://127.0.0.1:{UPSTREAM_PORT}/v1"
    params = {"model": "openai/mock", "api_base": base, "api_key": "none"}
    return litellm_running(folder, PORT + 1, {"model_list": [{"model_name": "mock", "litellm_params": params}]})


@contextlib.contextmanager
def portkey(folder: Path) -> Iterator[Gateway]:
    script = PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    with processes.started(["node", str(script), f"--port={PORT + 2}", "--headless"], log=folder / "p.log") as pid:
        processes.await_http(f"http://127.0.0.1:{PORT + 2}/")
        more = f"x-portkey-provider: openai\r\nx-portkey-custom-host: http://127.0.0.1:{UPSTREAM_PORT}/v1\r\n"
        yield Gateway(pid, PORT + 2, "none", "mock", more)


def installed() -> dict[str, Callable[[Path], Any]]:
    """The gateways that are there."""
    found: dict[str, Callable[[Path], Any]] = {"tollway": tollway}
    if (PEERS / "litellm/bin/litellm").exists():
        found["litellm"] = litellm
    if shutil.which("node") and (PEERS / "portkey/node_modules").exists():
        found["portkey"] = portkey
    return found


def until_file(file: Path, within_s: float = 120.0) -> None:
    import time

    until = time.monotonic() + within_s
    while not file.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{file} does not appear")
        time.sleep(0.1)


def requests(gateway: Gateway, texts: list[str], stream: bool) -> list[bytes]:
    return [
        load.post(
            gateway.port,
            "/v1/chat/completions",
            json.dumps(
                {"model": gateway.model, "messages": [{"role": "user", "content": text}], "stream": stream}
            ).encode(),
            gateway.key,
            gateway.more,
        )
        for text in texts
    ]


async def measured(
    gateway: Gateway, connections: int, seconds: float, texts: list[str], stream: bool
) -> dict[str, Any]:
    made = requests(gateway, texts, stream)
    await load.run(gateway.port, made[:200], min(connections, 8), 1.5)
    before = processes.cpu_seconds(gateway.pid)
    seen = await load.run(gateway.port, made[200:], connections, seconds)
    spent = processes.cpu_seconds(gateway.pid) - before
    p50, p99 = report.percentiles(seen.latencies)
    answered = sum(seen.statuses.values())
    if seen.good < answered:
        report.err.print(f"[red]not all were answered well: {seen.statuses}[/red]")
    return {
        "requests_per_second": seen.per_second,
        "p50_ms": p50 * 1e3,
        "p99_ms": p99 * 1e3,
        "cpu_us_per_request": spent / max(answered, 1) * 1e6,
        "failed": answered - seen.good,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    asked.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    asked.add_argument(
        "--repeated", type=float, default=0.0, help="share of requests that were asked before: cache hits"
    )
    asked.add_argument("--stream", action="store_true", help="ask for server-sent events")
    asked.add_argument("--only", nargs="+", help="of tollway, litellm, portkey")
    args = asked.parse_args()
    found: dict[str, dict[int, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        upstream = [sys.executable, "-m", "benchmarks.upstream", str(UPSTREAM_PORT)]
        with processes.started(upstream):
            processes.await_http(f"http://127.0.0.1:{UPSTREAM_PORT}/")
            for name, gateway in installed().items():
                if args.only and name not in args.only:
                    continue
                with gateway(Path(folder)) as stands:
                    found[name] = {}
                    for n, connections in enumerate(report.progress(args.connections, name)):
                        texts = prompts.made(60_000, seed=n)
                        if args.repeated:
                            texts = [
                                texts[0] if k % 100 < args.repeated * 100 else text for k, text in enumerate(texts)
                            ]
                        found[name][connections] = uvloop.run(
                            measured(stands, connections, args.seconds, texts, args.stream)
                        )
    heads = ("gateway", "connections", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "failed")
    report.table("before the same mock provider", heads, [
        (name, connections, *run.values()) for name, runs in found.items() for connections, run in runs.items()
    ])  # fmt: skip
    best = {name: max(run["requests_per_second"] for run in runs.values()) for name, runs in found.items()}
    most = max(args.connections)
    facts: dict[str, Any] = {**found["tollway"][most], "by_gateway": found}
    facts["requests_per_second"] = best["tollway"]
    for name in ("litellm", "portkey"):
        if name in best:
            facts[f"throughput_vs_{name}"] = best["tollway"] / best[name]
    report.finish(facts)


if __name__ == "__main__":
    main()
