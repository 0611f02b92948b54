"""A job as the edge tells it."""

from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.jobs.v1 import jobs_pb2 as pb

from services.edge.wire import answer
from services.edge.wire.errors import Refusal, of_error

STATUSES = {
    pb.STATE_QUEUED: "queued",
    pb.STATE_RUNNING: "running",
    pb.STATE_SUCCEEDED: "succeeded",
    pb.STATE_FAILED: "failed",
    pb.STATE_CANCELLED: "cancelled",
    pb.STATE_DEAD: "dead",
}


def job_name(job_id: str) -> str:
    return f"job_{job_id.replace('-', '')}"


def body(job: pb.Job) -> bytes:
    """A `tollway.job`, with its result in OpenAI's words once it has one."""
    said: dict[str, Any] = {
        "id": job_name(job.job_id),
        "object": "tollway.job",
        "kind": job.kind,
        "status": STATUSES.get(job.state, "queued"),
        "created_at": _seconds(job.created),
        "started_at": _seconds(job.started) if job.HasField("started") else None,
        "ended_at": _seconds(job.ended) if job.HasField("ended") else None,
        "attempts": job.attempts,
        "total": job.total,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "error": None,
        "metadata": dict(job.metadata),
    }
    if job.HasField("error"):
        said["error"] = of_error(job.error.code, job.error.reason, job.error.message).body()["error"]
    if job.scores:
        said["scores"] = dict(job.scores)
    if job.partial:
        said["partial"] = job.partial
    whole = orjson.dumps(said)
    result = _result(job.result)
    return whole[:-1] + b',"result":' + result + b"}"


def deferred(job_id: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What a caller gets instead of an answer that was not there in time, and the headers that say where it will be."""
    name, url = job_name(job_id), path(job_id)
    said = {"id": name, "object": "tollway.job", "kind": "chat", "status": "running", "url": url}
    return orjson.dumps(said), [(b"location", url.encode())]


def path(job_id: str) -> str:
    return f"/tollway/v1/jobs/{job_name(job_id)}"


def state_of(word: str) -> pb.State.ValueType:
    """
    Raises:
        Refusal: no state is called so.
    """
    found = next((state for state, name in STATUSES.items() if name == word), None)
    if word and found is None:
        raise Refusal(
            400,
            "invalid_value",
            f"invalid value for status: allowed are {', '.join(STATUSES.values())}",
            param="status",
        )
    return found or pb.STATE_UNSPECIFIED


def _result(made: pb.Result) -> bytes:
    match made.WhichOneof("result"):
        case "completion":
            return answer.completion(made.completion.completion, made.completion.road)
        case "embeddings":
            return answer.embeddings(made.embeddings, in_base64=False)
    return b"null"


def _seconds(at: Timestamp) -> float:
    return round(at.seconds + at.nanos / 1e9, 3)
