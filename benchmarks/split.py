"""What a request costs in one process, by workers, and with each service in a process of its own: `python -m benchmarks.split`.

The same mesh four times before the same mock provider: together, with two workers, apart over unix sockets, apart over TCP
with mutual TLS. CPU is read from the system, of all processes and of each. A traced request tells how many calls each service gets;
what being apart costs is shared out by calls, and so shows which services are worth having in one process.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
import yaml

from benchmarks import load, processes, prompts, report
from benchmarks.gateway_load import UPSTREAM_PORT, Gateway, requests, until_file

PORT, GRPC_PORT = 18090, 18100
MODES: Mapping[str, Sequence[str]] = {
    "inproc": ("--grpc-port=0",),
    "workers": ("--workers=2", f"--grpc-port={GRPC_PORT}"),
    "split_unix": ("--split", "--grpc-port=0"),
    "split_mtls": ("--split", "--tls", f"--grpc-port={GRPC_PORT}"),
}


@dataclass(frozen=True, slots=True)
class Mesh:
    gateway: Gateway
    state: Path
    processes: Mapping[str, int]
    """By service; empty where they share one."""


@contextlib.contextmanager
def meshed(folder: Path, mode: str) -> Iterator[Mesh]:
    state = folder / mode
    command = [sys.executable, "-m", "services.mesh", "up", f"--state={state}", f"--port={PORT}", *MODES[mode],
               f"--model=mock=openai:mock@http://127.0.0.1:{UPSTREAM_PORT}/v1"]  # fmt: skip
    environ = {"TOLLWAY_MODELS__LOCAL": "false", "TOLLWAY_LEDGER__PRICES": '{mock: {input: "1", output: "2"}}',
               "TOLLWAY_EDGE__TRACING__PER_SECOND": "0", "TOLLWAY_EDGE__TRACING__SHARE": "0"}  # fmt: skip
    with processes.started(command, environ, folder / f"{mode}.log") as pid:
        until_file(state / "run" / "up.json")
        said = json.loads((state / "run" / "up.json").read_text())
        key = (state / "dev.key").read_text().strip()
        budget = ["-m", "services.mesh", "budgets", "set", "dev", "1000000usd", f"--state={state}"]
        subprocess.run([sys.executable, *budget], capture_output=True, check=True)
        yield Mesh(Gateway(pid, PORT, key, "mock"), state, said["processes"])


async def measured(mesh: Mesh, connections: int, seconds: float, seed: int) -> dict[str, Any]:
    made = requests(mesh.gateway, prompts.made(40_000, seed=seed), stream=False)
    await load.run(PORT, made[:300], min(connections, 8), 2.0)
    before = {name: processes.cpu_seconds(pid) for name, pid in mesh.processes.items()}
    whole = processes.cpu_seconds(mesh.gateway.pid)
    seen = await load.run(PORT, made[300:], connections, seconds)
    answered = max(sum(seen.statuses.values()), 1)
    p50, p99 = report.percentiles(seen.latencies)
    return {
        "cpu_us": (processes.cpu_seconds(mesh.gateway.pid) - whole) / answered * 1e6,
        "requests_per_second": seen.per_second,
        "p50_ms": p50 * 1e3,
        "p99_ms": p99 * 1e3,
        "failed": answered - seen.good,
        "by_service": {
            name: (processes.cpu_seconds(pid) - before[name]) / answered * 1e6 for name, pid in mesh.processes.items()
        },
    }


def calls(mesh: Mesh) -> Counter[str]:
    """How many calls one request makes to each service, from its own trace; the key is known by then."""
    _traced(mesh, "a first request, which makes the caller known")
    trace_id = _traced(mesh, prompts.made(1, seed=99)[0])
    time.sleep(1)  # what comes after the answer is in the trace, too
    admin = yaml.safe_load((mesh.state / "mesh.yaml").read_text())["ledger"]["admin_key"]
    url = f"http://127.0.0.1:{PORT}/tollway/v1/traces/{trace_id}"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {admin}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        names = [one["name"] for one in json.load(answer)["spans"]]
    services = [name.split(".")[1] for name in names if name.startswith("tollway.")]
    return Counter("orchestrator" if name == "gateway" else name for name in services)


def _traced(mesh: Mesh, text: str) -> str:
    """Asks, and returns the id of the request's trace."""
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": text}]}).encode()
    heads = {"authorization": f"Bearer {mesh.gateway.key}", "content-type": "application/json", "x-tollway-trace": "1"}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/v1/chat/completions", body, heads)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
        return str(answer.headers["x-tollway-trace"])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    asked.add_argument("--connections", type=int, default=16)
    args = asked.parse_args()
    found: dict[str, dict[str, Any]] = {}
    asks: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        Path(folder).chmod(0o755)  # the database runs as another user where we are root
        with processes.started([sys.executable, "-m", "benchmarks.upstream", str(UPSTREAM_PORT)]):
            processes.await_http(f"http://127.0.0.1:{UPSTREAM_PORT}/")
            for n, mode in enumerate(report.progress(list(MODES), "mesh")):
                with meshed(Path(folder), mode) as mesh:
                    if mode == "inproc":
                        asks = calls(mesh)
                    found[mode] = uvloop.run(measured(mesh, args.connections, args.seconds, n))
    heads = ("mesh", "CPU us/request", "requests/s", "p50 ms", "p99 ms", "failed")
    report.table(f"{args.connections} connections, the same mock provider", heads, [
        (mode, *(run[name] for name in ("cpu_us", "requests_per_second", "p50_ms", "p99_ms", "failed")))
        for mode, run in found.items()
    ])  # fmt: skip
    apart = {mode: found[mode]["cpu_us"] - found["inproc"]["cpu_us"] for mode in ("split_unix", "split_mtls")}
    hops = max(sum(asks.values()), 1)
    report.table("where it goes", ("service", "calls", "CPU us, unix", "CPU us, mTLS", "apart costs, unix", "mTLS"), [
        (name, asks[name], run, found["split_mtls"]["by_service"][name],
         *(cost * asks[name] / hops for cost in apart.values()))
        for name, run in sorted(found["split_unix"]["by_service"].items(), key=lambda one: -asks[one[0]])
    ])  # fmt: skip
    report.finish({
        **{f"{mode}_cpu_us": run["cpu_us"] for mode, run in found.items()},
        "workers_ratio": found["workers"]["cpu_us"] / found["inproc"]["cpu_us"],
        "unix_ratio": found["split_unix"]["cpu_us"] / found["inproc"]["cpu_us"],
        "mtls_ratio": found["split_mtls"]["cpu_us"] / found["inproc"]["cpu_us"],
        "calls_per_request": dict(asks),
        "by_mesh": found,
    })  # fmt: skip


if __name__ == "__main__":
    main()
