"""What traces cost: throughput of the mesh with 0, 1 and 100 of 100 requests sampled: `python -m benchmarks.telemetry_overhead`.

One mesh a rate, all up at once before the same mock provider and the same receiver, which takes spans and metrics in and drops
them. They are asked in turns, in an order that changes from round to round: one after the other they would meet other machines.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_rpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc

from benchmarks import load, processes, prompts, report
from benchmarks.gateway_load import UPSTREAM_PORT, Gateway, requests, until_file

PORT = 18110
RATES = {"0": 0.0, "1": 0.01, "100": 1.0}
"""By name: the share of requests that make spans."""


class Receiver(rpc.TraceServiceServicer):
    """Takes spans in, and counts them."""

    def __init__(self) -> None:
        self.spans = 0

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        self.spans += sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        return pb.ExportTraceServiceResponse()


class Metrics(metrics_rpc.MetricsServiceServicer):
    def Export(
        self, request: metrics_pb.ExportMetricsServiceRequest, context: Any
    ) -> metrics_pb.ExportMetricsServiceResponse:
        return metrics_pb.ExportMetricsServiceResponse()


@contextlib.contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    made, server = Receiver(), grpc.server(ThreadPoolExecutor(2))
    traces: Any = rpc.add_TraceServiceServicer_to_server
    traces(made, server)
    measured: Any = metrics_rpc.add_MetricsServiceServicer_to_server
    measured(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield made, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0)


@contextlib.contextmanager
def meshed(folder: Path, port: int, share: float, endpoint: str) -> Iterator[Gateway]:
    state = folder / str(port)
    command = [sys.executable, "-m", "services.mesh", "up", f"--state={state}", f"--port={port}", "--grpc-port=0",
               f"--model=mock=openai:mock@http://127.0.0.1:{UPSTREAM_PORT}/v1"]  # fmt: skip
    environ = {
        "TOLLWAY_MODELS__LOCAL": "false", "TOLLWAY_LEDGER__PRICES": '{mock: {input: "1", output: "2"}}',
        "TOLLWAY_EDGE__TRACING__PER_SECOND": "0", "TOLLWAY_EDGE__TRACING__SHARE": str(share),
        "TOLLWAY_PROCESS__OTLP_ENDPOINT": endpoint,
    }  # fmt: skip
    with processes.started(command, environ, folder / f"{port}.log") as pid:
        until_file(state / "run" / "up.json")
        budget = ["-m", "services.mesh", "budgets", "set", "dev", "1000000usd", f"--state={state}"]
        subprocess.run([sys.executable, *budget], capture_output=True, check=True)
        yield Gateway(pid, port, (state / "dev.key").read_text().strip(), "mock")


async def asked(gateway: Gateway, connections: int, seconds: float, seed: int) -> tuple[float, float]:
    """Requests a second, and CPU a request in microseconds."""
    texts = prompts.made(int(seconds * 1500), seed=seed)
    before = processes.cpu_seconds(gateway.pid)
    seen = await load.run(gateway.port, requests(gateway, texts, stream=False), connections, seconds)
    assert seen.good == sum(seen.statuses.values()), seen.statuses
    return seen.per_second, (processes.cpu_seconds(gateway.pid) - before) / max(seen.good, 1) * 1e6


def main(connections: int, seconds: float, rounds: int) -> None:
    chance = random.Random(1)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in RATES}
    with (
        tempfile.TemporaryDirectory(prefix="tw-bench-") as folder,
        processes.started([sys.executable, "-m", "benchmarks.upstream", str(UPSTREAM_PORT)]),
        receiving() as (receiver, endpoint),
        contextlib.ExitStack() as stack,
    ):
        Path(folder).chmod(0o755)
        meshes = {
            name: stack.enter_context(meshed(Path(folder), PORT + n, share, endpoint))
            for n, (name, share) in enumerate(RATES.items())
        }
        for n in report.progress(range(rounds + 1), "rounds"):
            for name in chance.sample(sorted(RATES), len(RATES)):
                made = uvloop.run(asked(meshes[name], connections, seconds, 100 * n + len(name)))
                if n:  # the first round warms up
                    found[name].append(made)
        spans = receiver.spans
    base = np.array(found["0"])
    facts: dict[str, Any] = {"spans_received": spans}
    rows = []
    for name, seen in found.items():
        rate, cpu = np.median(np.array(seen), axis=0)
        cost = (
            float(np.median(np.array(seen)[:, 1] / base[:, 1])) - 1
        )  # round by round, by CPU: wall time is other people's, too
        facts |= {f"requests_per_second_at_{name}pct": rate, f"cpu_us_per_request_at_{name}pct": cpu}
        if name != "0":
            facts[f"cost_at_{name}pct"] = cost
        rows.append((f"{name} %", float(rate), float(cpu), f"{cost:+.1%}"))
    report.table(
        f"{connections} connections, {rounds} rounds", ("sampled", "requests/s", "CPU us/request", "cost"), rows
    )
    report.finish(facts)


if __name__ == "__main__":
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("--connections", type=int, default=16)
    said.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    said.add_argument("--rounds", type=int, default=6)
    got = said.parse_args()
    main(got.connections, got.seconds, got.rounds)
