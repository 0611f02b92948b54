"""Jobs handed in and worked through: `python -m benchmarks.jobs_load [--broker URL ...]`.

A whole mesh in one process with its embedded PostgreSQL, once for each broker: its embedded NATS, and those that URLs name.
Small jobs: embeddings of one sentence by the static encoder, each guarded, reserved and settled like any request. First one by
one (how long until a job is taken, how long until it is done), then many at once.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import uvloop
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from benchmarks import processes, prompts, report
from benchmarks.gateway_load import until_file
from services.mesh.running import bearing

EMBEDDED = "nats, embedded"
TOGETHER = 16


@contextlib.contextmanager
def meshed(folder: Path, broker: str) -> Iterator[tuple[str, str]]:
    """The address of its jobs service, and a key."""
    state = folder / "state"
    command = [sys.executable, "-m", "services.mesh", "up", f"--state={state}", "--port=0", "--grpc-port=0"]
    environ = {"TOLLWAY_MODELS__LOCAL": "false", "TOLLWAY_JOBS__PER_TENANT": "64"}
    if broker != EMBEDDED:
        environ["TOLLWAY_JOBS__BROKER"] = broker
    with processes.started(command, environ, folder / "mesh.log"):
        until_file(state / "run" / "up.json")
        services = json.loads((state / "run" / "up.json").read_text())["services"]
        yield services["jobs"], (state / "dev.key").read_text().strip()


def embedding(text: str) -> pb.Embedding:
    return pb.Embedding(model="static", texts=[text])


async def measured(address: str, key: str, singles: int, lines: int) -> dict[str, Any]:
    texts = prompts.made(singles + lines, seed=5)
    options = (("grpc.max_send_message_length", 256 << 20),)
    async with grpc.aio.insecure_channel(address, options) as channel:
        stub: Any = jobs_pb2_grpc.JobsServiceStub(channel)
        submits: list[float] = []
        ends: list[float] = []
        turns = asyncio.Semaphore(TOGETHER)

        async def one(text: str) -> None:
            async with turns:
                began = time.perf_counter()
                made = await stub.CreateJob(pb.CreateJobRequest(embedding=embedding(text)), metadata=bearing(key))
                submits.append(time.perf_counter() - began)
                async for _ in stub.WatchJob(pb.WatchJobRequest(job_id=made.job.job_id), metadata=bearing(key)):
                    pass
                ends.append(time.perf_counter() - began)

        await asyncio.gather(*(one(text) for text in texts[:singles]))
        batch = pb.Batch(
            lines=[pb.Line(custom_id=str(n), embedding=embedding(text)) for n, text in enumerate(texts[singles:])]
        )
        began = time.perf_counter()
        made = await stub.CreateJob(pb.CreateJobRequest(batch=batch), metadata=bearing(key))
        taken, last = time.perf_counter() - began, pb.Job()
        async for told in stub.WatchJob(pb.WatchJobRequest(job_id=made.job.job_id), metadata=bearing(key)):
            last = told.job
        took = time.perf_counter() - began
    (submit50, submit99), (end50, end99) = report.percentiles(submits), report.percentiles(ends)
    return {
        "submit_p50_ms": submit50 * 1e3,
        "submit_p99_ms": submit99 * 1e3,
        "done_p50_ms": end50 * 1e3,
        "done_p99_ms": end99 * 1e3,
        "lines_taken_per_second": lines / taken,
        "jobs_per_second": lines / took,
        "succeeded": last.succeeded,
        "failed": last.failed,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--broker", action="append", default=[], help="URL of another broker; repeatable")
    asked.add_argument("--jobs", type=int, default=500, help="handed in one by one, sixteen at once")
    asked.add_argument("--lines", type=int, default=5000, help="of the batch")
    args = asked.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for broker in report.progress([EMBEDDED, *args.broker], "broker"):
        with tempfile.TemporaryDirectory(prefix="tw-") as folder:
            Path(folder).chmod(0o755)  # the database runs as another user where we are root
            with meshed(Path(folder), broker) as (address, key):
                name = broker.partition("://")[0]
                found[name] = uvloop.run(measured(address, key, args.jobs, args.lines))
    heads = ("broker", *next(iter(found.values())))
    report.table("small jobs, PostgreSQL and the whole mesh in one process", heads, [
        (name, *run.values()) for name, run in found.items()
    ])  # fmt: skip
    report.finish({**found[EMBEDDED], "by_broker": found})


if __name__ == "__main__":
    main()
