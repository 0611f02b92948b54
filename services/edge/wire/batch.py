"""OpenAI's batches and files in our words, and back."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire import answer, completion, file_search, moderation, options, request, response, responses
from services.edge.wire.body import Metadata
from services.edge.wire.errors import Refusal, decoded, of_body, of_error

OUR_OWN = "tollway."
"""Begins the names under which a batch keeps what OpenAI's object has beside our job's."""
INPUT, ENDPOINT, WINDOW = f"{OUR_OWN}input_file_id", f"{OUR_OWN}endpoint", f"{OUR_OWN}completion_window"
UNITS = {"h": 3600, "d": 86_400}
A_MONTH_S = 30 * 86_400
BATCH, FILE = re.compile(r"batch_([0-9a-f]{32})"), re.compile(r"file-([0-9a-f]{32})(-output|-errors)?")
NOT_ALONE = ("stream", "background", "previous_response_id", "conversation")
STATUSES = {
    pb.STATE_QUEUED: "in_progress",
    pb.STATE_RUNNING: "in_progress",
    pb.STATE_SUCCEEDED: "completed",
    pb.STATE_FAILED: "failed",
    pb.STATE_CANCELLED: "cancelled",
    pb.STATE_DEAD: "failed",
}


class Kept(Struct, forbid_unknown_fields=True):
    seconds: Annotated[int, Meta(ge=3600, le=A_MONTH_S)]
    anchor: Literal["created_at"] = "created_at"


class BatchBody(Struct, forbid_unknown_fields=True):
    input_file_id: Annotated[str, Meta(min_length=1, max_length=64)]
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/responses"]
    completion_window: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}[hd]$")]
    metadata: Metadata | None = None
    output_expires_after: Kept | None = None


class LineBody(Struct, forbid_unknown_fields=True):
    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    url: str
    body: msgspec.Raw
    method: Literal["POST"] = "POST"


_BATCH, _LINE = msgspec.json.Decoder(BatchBody), msgspec.json.Decoder(LineBody)


def parsed(raw: bytes) -> BatchBody:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    return decoded(_BATCH, raw)


def window_s(body: BatchBody) -> int:
    return int(body.completion_window[:-1]) * UNITS[body.completion_window[-1]]


def job_request(body: BatchBody, lines: Iterable[pb.Line], now: float, request_id: str) -> pb.CreateJobRequest:
    kept = body.output_expires_after.seconds if body.output_expires_after else A_MONTH_S
    own = {INPUT: body.input_file_id, ENDPOINT: body.endpoint, WINDOW: body.completion_window}
    return pb.CreateJobRequest(
        request_id=request_id,
        batch=pb.Batch(lines=lines),
        deadline=Timestamp(seconds=int(now) + window_s(body)),
        keep=Duration(seconds=kept),
        metadata={**(body.metadata or {}), **own},
    )


def line(raw: bytes, number: int, endpoint: str) -> pb.Line:
    """One line of a batch's file. What its body lacks is that line's own failure, for the file of errors.

    Raises:
        Refusal: it is no line at all, so that nothing could be told under its name.
    """
    try:
        said = _LINE.decode(raw)
    except msgspec.MsgspecError as error:
        raise _no_line(number, of_body(error).message) from None
    if said.url != endpoint:
        raise _no_line(number, f"invalid value for url: the batch is for {endpoint}")
    return read(said.custom_id, lambda made: _work(made, bytes(said.body), endpoint))


def read(name: str, work: Callable[[pb.Line], None]) -> pb.Line:
    """The line of that name; `work` says what is to be done, or refuses, which is the line's own failure then."""
    made = pb.Line(custom_id=name)
    try:
        work(made)
    except Refusal as refusal:
        made.refused.code, made.refused.reason, made.refused.message = 3, refusal.code, refusal.message[:500]
    return made


def chats(made: pb.Line, asked: chat.ChatRequest, wanted: gateway_pb2.Options) -> None:
    """A conversation is what is to be done; who waits for an answer goes first, unless it is said otherwise."""
    made.chat.chat.CopyFrom(asked)
    made.chat.options.CopyFrom(wanted)
    if not made.chat.options.priority:
        made.chat.options.priority = models_pb2.PRIORITY_LOW


def _work(made: pb.Line, raw: bytes, endpoint: str) -> None:
    match endpoint:
        case "/v1/embeddings":
            asked, in_base64 = request.embed_request(raw)
            if in_base64:
                raise Refusal(400, "invalid_value", "invalid value for encoding_format: a batch gives floats")
            made.embedding.model, made.embedding.dimensions = asked.model, asked.dimensions
            made.embedding.texts.extend(asked.texts)
        case "/v1/moderations":
            judged = moderation.request(moderation.parsed(raw))
            made.moderation.model = judged.model
            made.moderation.texts.extend(judged.texts)
        case "/v1/completions":
            text = completion.parsed(raw)
            said, *more = completion.texts(text)
            if more:
                why = "a line of a batch goes on from one text"
                raise Refusal(400, "invalid_value", f"invalid value for prompt: {why}", param="prompt")
            _whole(text.stream)
            chats(made, completion.chat_request(text, said), options.options(bytes(text.tollway), {}))
        case responses.PATH:
            _response_to(made, raw)
        case _:
            body = request.parsed(raw)
            _whole(body.stream)
            chats(made, request.chat_request(body), request.wanted(body, {}))


def _response_to(made: pb.Line, raw: bytes) -> None:
    said = responses.parsed(raw)
    if alone := next((name for name in NOT_ALONE if getattr(said, name)), None):
        why = "a line of a batch stands alone, and is answered as a whole"
        raise Refusal(400, "unsupported_value", f"{alone}: {why}", param=alone)
    chats(made, responses.chat_request(said), responses.wanted(said, {}))


def _whole(stream: bool | None) -> None:
    if stream:
        raise Refusal(400, "invalid_value", "invalid value for stream: a batch gives whole answers", param="stream")


def _no_line(number: int, why: str) -> Refusal:
    return Refusal(400, "invalid_batch_line", f"line {number} of the file: {why}", param="input_file_id")


def batch_id(job_id: str) -> str:
    return f"batch_{job_id.replace('-', '')}"


def job_of(said: str, ids: re.Pattern[str] = BATCH, param: str = "batch_id") -> str:
    """
    Raises:
        Refusal: this is no batch's id.
    """
    if (found := ids.fullmatch(said)) is None:
        raise Refusal(404, "not_found", f"there is no batch {said[:64]!r}", param=param)
    return _uuid(found.group(1))


def file_id(of: str, side: str = "") -> str:
    """Of a file, or of the `-output` or `-errors` of a batch."""
    return f"file-{of.replace('-', '')}{side}"


def file_of(said: str) -> tuple[str, str]:
    """The id of a file, or of a batch's job and which side of it.

    Raises:
        Refusal: this is no file's id.
    """
    if (found := FILE.fullmatch(said)) is None:
        raise Refusal(404, "not_found", f"there is no file {said[:64]!r}", param="file_id")
    return _uuid(found.group(1)), found.group(2) or ""


def _uuid(hexed: str) -> str:
    return "-".join((hexed[:8], hexed[8:12], hexed[12:16], hexed[16:20], hexed[20:]))


def batch(job: pb.Job) -> dict[str, Any]:
    """A `batch` object."""
    own, ended = dict(job.metadata), job.ended.seconds if job.HasField("ended") else None
    status = STATUSES[job.state]
    return {
        "id": batch_id(job.job_id),
        "object": "batch",
        "endpoint": own.get(ENDPOINT, ""),
        "errors": None,
        "input_file_id": own.get(INPUT, ""),
        "completion_window": own.get(WINDOW, "24h"),
        "status": status,
        "output_file_id": file_id(job.job_id, "-output") if ended and job.succeeded else None,
        "error_file_id": file_id(job.job_id, "-errors") if ended and job.succeeded < job.total else None,
        "created_at": job.created.seconds,
        "in_progress_at": job.started.seconds if job.HasField("started") else None,
        "expires_at": job.deadline.seconds,
        "finalizing_at": ended if status == "completed" else None,
        "completed_at": ended if status == "completed" else None,
        "failed_at": ended if status == "failed" else None,
        "expired_at": None,
        "cancelling_at": ended if status == "cancelled" else None,
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {"total": job.total, "completed": job.succeeded, "failed": job.failed},
        "metadata": {name: value for name, value in own.items() if not name.startswith(OUR_OWN)} or None,
    }


def file(one: pb.File) -> dict[str, Any]:
    """A `file` object."""
    return {
        "id": file_id(one.file_id),
        "object": "file",
        "bytes": one.size_bytes,
        "created_at": one.created.seconds,
        "expires_at": one.expires.seconds,
        "filename": one.name,
        "purpose": one.purpose,
        "status": "processed",
        "status_details": None,
    }


def endpoint_of(job: pb.Job) -> str:
    """What its lines ask for."""
    return job.metadata.get(ENDPOINT, "")


def repeats(endpoint: str) -> bool:
    """Whether an answer tells what was asked for."""
    return endpoint == responses.PATH


def result(one: pb.LineResult, side: str, endpoint: str = "") -> bytes:
    """A line of the file of answers, or of the file of errors; nothing where it belongs to the other."""
    if (one.state == pb.STATE_SUCCEEDED) is not (side == "-output"):
        return b""
    said: dict[str, Any] = {
        "id": f"batch_req_{one.job_id.replace('-', '')}",
        "custom_id": one.custom_id,
        "response": None,
        "error": None,
    }
    which = one.result.WhichOneof("result")
    if which == "completion":
        made = one.result.completion
        said["response"] = _response(200, made.road.trace_id or said["id"], _completed(one, endpoint))
    elif which == "moderations":
        judged = one.result.moderations
        said["response"] = _response(200, judged.road.trace_id or said["id"], moderation.answer(judged))
    elif which == "embeddings":
        vectors = one.result.embeddings
        said["response"] = _response(
            200, vectors.road.trace_id or said["id"], answer.embeddings(vectors, in_base64=False)
        )
    elif cancelled(one):
        said["error"] = {"code": "batch_cancelled", "message": "the batch was cancelled before this was asked"}
    elif expired(one):
        said["error"] = {"code": "batch_expired", "message": "the batch's window ended before this was asked"}
    else:
        refusal = of_error(one.error.code, one.error.reason, one.error.message)
        said["response"] = _response(refusal.status, said["id"], orjson.dumps(refusal.body()))
    return orjson.dumps(said) + b"\n"


def _completed(one: pb.LineResult, endpoint: str) -> bytes:
    """A completion in the words of what was asked for."""
    made = one.result.completion
    if repeats(endpoint):
        return orjson.dumps(_answered(one))
    return (
        completion.completion([made])
        if endpoint == "/v1/completions"
        else answer.completion(made.completion, made.road)
    )


def _answered(one: pb.LineResult) -> dict[str, Any]:
    """A line that asked for a response; it is kept as long as its batch."""
    made = one.result.completion
    frame = response.frame(one.chat, response.response_id(one.job_id), made.completion.created.seconds)
    return response.answered(
        frame | {"store": True}, one.chat, made.completion, file_search.searched(one.chat, made.road)
    )


def cancelled(one: pb.LineResult) -> bool:
    """Before it was asked."""
    return one.state == pb.STATE_CANCELLED and not one.error.reason


def expired(one: pb.LineResult) -> bool:
    """The batch's window ended before it was asked."""
    return one.error.reason == "DEADLINE"


def _response(status: int, request_id: str, body: bytes) -> dict[str, Any]:
    return {"status_code": status, "request_id": request_id, "body": orjson.Fragment(body)}


def listed(objects: list[dict[str, Any]], *, more: bool) -> bytes:
    return orjson.dumps({"object": "list", **ends(objects, more=more)})


def ends(objects: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page of `objects`, and what it begins and ends with."""
    return {
        "data": objects,
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": more,
    }


def deleted(said: str, kind: str = "file") -> bytes:
    return orjson.dumps({"id": said, "object": kind, "deleted": True})


def page(asked: Mapping[str, str], most: int) -> tuple[int, str]:
    """`limit` and `after` of a query.

    Raises:
        Refusal: a limit that is none.
    """
    limit = asked.get("limit", "")
    if limit and not (limit.isdecimal() and 1 <= int(limit) <= most):
        raise Refusal(400, "invalid_value", f"invalid value for limit: 1 to {most}", param="limit")
    return int(limit or 0), asked.get("after", "")
