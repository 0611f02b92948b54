"""Anthropic's batches of messages in our words, and back."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Meta, Raw, Struct
from tollway.jobs.v1 import jobs_pb2 as pb

from services.edge.wire import batch as batches
from services.edge.wire import message, messages
from services.edge.wire.errors import decoded, of_error, unfit
from services.edge.wire.options import options

BATCHES = "/v1/messages/batches"
WINDOW_S = 86_400
"""After a day what was not asked yet expires."""
BATCH = re.compile(r"msgbatch_([0-9a-f]{32})")
MOST_LISTED, LISTED = 1000, 20


class Request(Struct, forbid_unknown_fields=True):
    custom_id: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    params: Raw


class BatchBody(Struct, forbid_unknown_fields=True):
    requests: Annotated[list[Request], Meta(min_length=1, max_length=100_000)]


_BODY = msgspec.json.Decoder(BatchBody)


def parsed(raw: bytes) -> BatchBody:
    """
    Raises:
        Refusal: a field that breaks a rule, or two requests of one name.
    """
    body, names = decoded(_BODY, raw), set[str]()
    for n, one in enumerate(body.requests):
        if one.custom_id in names:
            raise unfit(f"requests[{n}].custom_id", "another request has it, too")
        names.add(one.custom_id)
    return body


def line(asked: Request) -> pb.Line:
    """What the request's parameters lack is that request's own failure, among the results."""

    def work(made: pb.Line) -> None:
        body = messages.parsed(bytes(asked.params))
        if body.stream:
            raise unfit("stream", "a batch gives whole answers")
        wanted = options(bytes(body.tollway), {})
        messages.tool_use(wanted.tools, body)
        batches.chats(made, messages.chat_request(body), wanted)

    return batches.read(asked.custom_id, work)


def job_request(lines: list[pb.Line], now: float, request_id: str) -> pb.CreateJobRequest:
    return pb.CreateJobRequest(
        request_id=request_id,
        batch=pb.Batch(lines=lines),
        deadline=Timestamp(seconds=int(now) + WINDOW_S),
        keep=Duration(seconds=batches.A_MONTH_S),
        metadata={batches.ENDPOINT: messages.PATH},
    )


def job_of(said: str, param: str = "message_batch_id") -> str:
    """
    Raises:
        Refusal: this is no batch's id.
    """
    return batches.job_of(said, BATCH, param)


def paged(asked: Mapping[str, str]) -> pb.ListJobsRequest:
    """
    Raises:
        Refusal: a limit or an id that is none, or a page before one.
    """
    if asked.get("before_id"):
        raise unfit("before_id", "pages follow one another by after_id")
    limit, _ = batches.page(asked, MOST_LISTED)
    made = pb.ListJobsRequest(kind="batch", page_size=limit or LISTED)
    if after := asked.get("after_id"):
        made.page_token = job_of(after, "after_id")
    return made


def listed(jobs: list[dict[str, Any]], *, more: bool) -> bytes:
    return orjson.dumps(batches.ends(jobs, more=more))


def batch(job: pb.Job) -> dict[str, Any]:
    """A `message_batch` object. Requests are counted by how they ended once all have."""
    name, ended = _id(job.job_id), job.HasField("ended")
    stopped = job.total - job.succeeded - job.failed if ended else 0
    cancelled = job.state == pb.STATE_CANCELLED
    return {
        "id": name,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {
            "processing": 0 if ended else job.total,
            "succeeded": job.succeeded if ended else 0,
            "errored": job.failed if ended else 0,
            "canceled": stopped if cancelled else 0,
            "expired": 0 if cancelled else stopped,
        },
        "created_at": _time(job.created),
        "expires_at": _time(job.deadline),
        "ended_at": _time(job.ended) if ended else None,
        "cancel_initiated_at": _time(job.ended) if cancelled else None,
        "archived_at": None,
        "results_url": f"{BATCHES}/{name}/results" if ended else None,
    }


def deleted(job_id: str) -> bytes:
    return orjson.dumps({"id": _id(job_id), "type": "message_batch_deleted"})


def result(one: pb.LineResult) -> bytes:
    """A line of the results."""
    return orjson.dumps({"custom_id": one.custom_id, "result": _came_to(one)}) + b"\n"


def _came_to(one: pb.LineResult) -> dict[str, Any]:
    if one.result.WhichOneof("result") == "completion":
        made = one.result.completion
        return {"type": "succeeded", "message": orjson.Fragment(message.whole(made.completion, made.road))}
    if batches.cancelled(one):
        return {"type": "canceled"}
    if batches.expired(one):
        return {"type": "expired"}
    refusal = of_error(one.error.code, one.error.reason, one.error.message)
    return {"type": "errored", "error": message.refused(refusal)}


def _id(job_id: str) -> str:
    return f"msgbatch_{job_id.replace('-', '')}"


def _time(at: Timestamp) -> str:
    return datetime.fromtimestamp(at.seconds, UTC).isoformat().replace("+00:00", "Z")
