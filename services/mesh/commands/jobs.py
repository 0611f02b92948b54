"""`tollway jobs`: what waits, what runs, what is parked and why."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf.json_format import MessageToJson
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import Key, State, key_of, ran
from services.mesh.screen import fail, say, table

T = TypeVar("T")
WITHIN_S = 10.0

jobs = typer.Typer(no_args_is_help=True, help="Jobs: list, show, cancel, retry; what is parked, and why.")
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def called(state: Path, work: Callable[[jobs_pb2_grpc.JobsServiceStub], Awaitable[T]]) -> T:
    async def run() -> T:
        async with running.running(state).channel("jobs") as channel:
            return await work(jobs_pb2_grpc.JobsServiceStub(channel))

    return ran(run())


@jobs.command("list")
def list_jobs(
    only: Annotated[str, typer.Option(help="queued, running, succeeded, failed, cancelled or dead.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists the jobs of a key's account, the newest first."""
    shown(state, only, running.bearing(key_of(state, key)), everybody=False)


@jobs.command("dead")
def dead(state: State = running.STATE) -> None:
    """Lists what is parked, of every account: tried as often as may be, with its last error."""
    shown(state, "dead", running.bearing(running.admin_key(state)), everybody=True)


@jobs.command("show")
def show(job_id: JobId, key: Key = "", state: State = running.STATE) -> None:
    """Shows a job whole, its result with it, as JSON."""
    metadata = running.bearing(key_of(state, key))
    found = called(
        state, lambda stub: stub.GetJob(pb.GetJobRequest(job_id=job_id), metadata=metadata, timeout=WITHIN_S)
    )
    say(MessageToJson(found.job, preserving_proto_field_name=True))


@jobs.command("cancel")
def cancel(job_id: JobId, key: Key = "", state: State = running.STATE) -> None:
    """Stops a job, or what is left of a batch."""
    metadata = running.bearing(key_of(state, key))
    request = pb.CancelJobRequest(job_id=job_id)
    say(word(called(state, lambda stub: stub.CancelJob(request, metadata=metadata, timeout=WITHIN_S)).job.state))


@jobs.command("retry")
def retry(job_id: JobId, state: State = running.STATE) -> None:
    """Queues a job again that failed or is parked; of a batch, its lines that did."""
    metadata = running.bearing(running.admin_key(state))
    request = pb.RetryJobRequest(job_id=job_id)
    say(word(called(state, lambda stub: stub.RetryJob(request, metadata=metadata, timeout=WITHIN_S)).job.state))


@jobs.command("webhooks")
def webhooks(job_id: JobId, key: Key = "", state: State = running.STATE) -> None:
    """Lists what was sent to a job's webhook, and how that went."""
    metadata = running.bearing(key_of(state, key))
    request = pb.ListDeliveriesRequest(job_id=job_id)
    found = called(state, lambda stub: stub.ListDeliveries(request, metadata=metadata, timeout=WITHIN_S))
    rows = [
        (one.webhook_id, one.type, str(one.attempts), str(one.status or ""), one.error,
         "arrived" if one.HasField("delivered") else "waits" if one.HasField("due") else "given up")
        for one in found.deliveries
    ]  # fmt: skip
    table(("webhook", "event", "tries", "status", "error", "now"), rows)


def shown(state: Path, only: str, metadata: tuple[tuple[str, str], ...], everybody: bool) -> None:
    if only and f"STATE_{only.upper()}" not in pb.State.keys():  # noqa: SIM118 - an enum wrapper, not a mapping
        fail(f"--only {only}: say queued, running, succeeded, failed, cancelled or dead")
    wanted = pb.State.Value(f"STATE_{only.upper()}") if only else pb.STATE_UNSPECIFIED
    request = pb.ListJobsRequest(state=wanted, everybody=everybody)
    found = called(state, lambda stub: stub.ListJobs(request, metadata=metadata, timeout=WITHIN_S))
    rows = [
        (one.job_id, one.account, one.kind, word(one.state), f"{one.succeeded}/{one.total}", str(one.attempts),
         f"{one.error.reason} {one.error.message}".strip())
        for one in found.jobs
    ]  # fmt: skip
    table(("job", "account", "kind", "state", "done", "tries", "why"), rows)


def word(state: pb.State.ValueType) -> str:
    return pb.State.Name(state).removeprefix("STATE_").lower()
