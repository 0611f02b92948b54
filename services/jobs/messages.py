"""Jobs from messages, and messages of jobs."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4, uuid5

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.jobs.v1 import conversations_pb2
from tollway.jobs.v1 import jobs_pb2 as pb

from services.jobs import grading
from services.jobs.conversations import Conversation, Item, conversation_id
from services.jobs.files import File
from services.jobs.life import (
    ANSWER,
    CaseUnfit,
    DuplicateCase,
    DuplicateLine,
    DuplicateMeasure,
    Fault,
    Job,
    MeasureUnfit,
    NotBefore,
    State,
)
from services.jobs.store import Delivery
from services.runtime.identity import Caller
from services.runtime.subjects import digest

A_DAY = timedelta(days=1)
NEEDS = {
    pb.Measure.KIND_NUMERIC: ("number", grading.has_number),
    pb.Measure.KIND_JSON: ("JSON", grading.has_json),
}
"""What a measure finds in what is expected."""
FAULTS: Mapping["pb.Measure.Kind.ValueType", Callable[[pb.Measure], str]] = {
    pb.Measure.KIND_REGEX: lambda one: grading.pattern_fault(one.pattern),
    pb.Measure.KIND_SCHEMA: lambda one: grading.schema_fault(one.schema_json),
    pb.Measure.KIND_JUDGE: lambda one: "" if one.judge else "it names no judge",
}
"""What is wrong with a measure itself."""


def jobs(request: pb.CreateJobRequest, caller: Caller, now: datetime, lease: timedelta) -> Iterable[Job]:
    """The job, and its lines where it has any.

    Raises:
        DuplicateLine, DuplicateCase, DuplicateMeasure, MeasureUnfit, CaseUnfit, NotBefore
    """
    ready = request.not_before.ToDatetime(UTC) if request.HasField("not_before") else now
    deadline = request.deadline.ToDatetime(UTC) if request.HasField("deadline") else max(now, ready) + A_DAY
    if deadline <= max(now, ready):
        raise NotBefore
    kind = request.WhichOneof("work") or ""
    work, held = getattr(request, kind), request.HasField("holding")
    many = kind in ("batch", "evaluation")
    whole = Job(
        id=UUID(request.holding.job_id) if held else uuid4(),
        kind=kind,
        account=caller.account,
        key_id=caller.key_id,
        created=now,
        ready=max(now, ready),
        deadline=deadline,
        request=b"" if many else work.SerializeToString(),
        request_id=request.request_id or (request.holding.job_id if held else ""),
        priority=request.priority,
        keep=request.keep.ToTimedelta() or A_DAY,
        total=len(request.batch.lines) + len(request.evaluation.cases) or 1,
        webhook=request.webhook_url,
        metadata=dict(request.metadata),
        shown=request.partial,
        subject=digest(caller.tenant, request.chat.chat.user),
        conversation=turn_of(request.chat),
    )
    if whole.request_id:
        whole = replace(whole, digest=sha256(work.SerializeToString(deterministic=True)).digest())
    if held:
        holder = UUID(request.holding.holder)
        whole = replace(whole, state=State.RUNNING, attempts=1, started=now, worker=holder, lease=now + lease)
    yield whole
    if kind == "batch":
        yield from _lines(whole, request.batch)
    if kind == "evaluation":
        yield from _cases(whole, request.evaluation)


def answer(request: pb.KeepAnswerRequest, caller: Caller, now: datetime) -> Job:
    """What was answered at once, as a job that has succeeded."""
    asked = request.chat.SerializeToString(deterministic=True)
    began = request.asked.ToDatetime(UTC) if request.HasField("asked") else now
    result = pb.Result(completion=request.completion).SerializeToString(deterministic=True)
    return Job(
        id=UUID(request.job_id),
        kind=ANSWER,
        account=caller.account,
        key_id=caller.key_id,
        created=began,
        ready=began,
        deadline=now,
        request=asked,
        state=State.SUCCEEDED,
        keep=request.keep.ToTimedelta() or A_DAY,
        started=began,
        ended=now,
        succeeded=1,
        result=result,
        digest=sha256(asked + result).digest(),
        subject=digest(caller.tenant, request.chat.chat.user),
        conversation=turn_of(request.chat),
    )


def turn_of(asked: pb.Chat) -> UUID | None:
    """The conversation that it is a turn of.

    Raises:
        ConversationUnknown: what it names is none.
    """
    return conversation_id(asked.options.turn.conversation) if asked.options.turn.conversation else None


def conversation(one: Conversation) -> conversations_pb2.Conversation:
    return conversations_pb2.Conversation(
        conversation_id=str(one.id),
        account=one.account,
        created=_stamp(one.created),
        used=_stamp(one.used),
        idle_for=duration(one.idle),
        metadata=one.metadata,
    )


def item(one: Item) -> conversations_pb2.Item:
    made = conversations_pb2.Item(item_id=one.id)
    made.message.MergeFromString(one.body)
    return made


def _lines(whole: Job, batch: pb.Batch) -> Iterable[Job]:
    seen: set[str] = set()
    for number, line in enumerate(batch.lines):
        if line.custom_id in seen:
            raise DuplicateLine(custom_id=line.custom_id)
        seen.add(line.custom_id)
        work = line.WhichOneof("work") or ""
        if work != "refused":
            asked = getattr(line, work).SerializeToString()
            yield _line_of(whole, number, line.custom_id, work, asked, line.chat.chat.user)
            continue
        fault = Fault(line.refused.code, line.refused.reason, line.refused.message)
        made = _line_of(whole, number, line.custom_id, work, b"", "")
        yield replace(made, state=State.FAILED, fault=fault, ended=whole.created, failed=1)


def _cases(whole: Job, evaluation: pb.Evaluation) -> Iterable[Job]:
    """Each case as an evaluation of its own, with what it is judged by."""
    names = [one.name for one in evaluation.measures]
    if twice := next((name for n, name in enumerate(names) if name in names[:n]), None):
        raise DuplicateMeasure(name=twice)
    for measure in evaluation.measures:
        if fault := FAULTS[measure.kind](measure) if measure.kind in FAULTS else "":
            raise MeasureUnfit(name=measure.name, fault=fault)
    seen: set[str] = set()
    for number, case in enumerate(evaluation.cases):
        if case.case_id in seen:
            raise DuplicateCase(case_id=case.case_id)
        seen.add(case.case_id)
        for measure in evaluation.measures:
            what, fits = NEEDS.get(measure.kind, ("", None))
            if fits is not None and not fits(case.expected):
                raise CaseUnfit(case_id=case.case_id, what=what, measure=measure.name)
        alone = pb.Evaluation(cases=[case], measures=evaluation.measures)
        yield _line_of(whole, number, case.case_id, "case", alone.SerializeToString(), case.chat.chat.user)


def _line_of(whole: Job, number: int, custom_id: str, kind: str, request: bytes, user: str) -> Job:
    return replace(
        whole,
        id=uuid5(whole.id, str(number)),
        kind=kind,
        parent=whole.id,
        line=number,
        custom_id=custom_id,
        request_id="",
        digest=b"",
        request=request,
        total=1,
        webhook="",
        metadata={},
        subject=digest(whole.tenant, user),
    )


def file(one: File) -> pb.File:
    return pb.File(
        file_id=str(one.id),
        name=one.name,
        purpose=one.purpose,
        size_bytes=one.size,
        created=_stamp(one.created),
        expires=_stamp(one.expires),
    )


def message(job: Job) -> pb.Job:
    made = pb.Job(
        job_id=str(job.id),
        kind=job.kind,
        state=_state(job),
        account=job.account,
        created=_stamp(job.created),
        started=_stamp(job.started),
        ended=_stamp(job.ended),
        deadline=_stamp(job.deadline),
        attempts=job.attempts,
        total=job.total,
        succeeded=job.succeeded,
        failed=job.failed,
        error=_error(job),
        webhook_url=job.webhook,
        metadata=job.metadata,
        partial=job.partial,
    )
    if job.result is not None:
        made.result.MergeFromString(job.result)
    return made


def line(job: Job) -> pb.LineResult:
    made = pb.LineResult(
        custom_id=job.custom_id, job_id=str(job.id), state=_state(job), error=_error(job), scores=job.scores
    )
    if job.result is not None:
        made.result.MergeFromString(job.result)
    if job.request and job.kind == "chat":
        made.chat.MergeFromString(job.request)
    return made


def delivery(one: Delivery) -> pb.Delivery:
    return pb.Delivery(
        webhook_id=one.webhook_id,
        type=json.loads(one.body)["type"],
        attempts=one.attempts,
        status=one.status,
        error=one.error,
        delivered=_stamp(one.delivered),
        due=_stamp(one.due),
    )


def duration(length: timedelta) -> Duration:
    made = Duration()
    made.FromTimedelta(length)
    return made


def _state(job: Job) -> pb.State.ValueType:
    return pb.State.ValueType(int(job.state))


def _error(job: Job) -> pb.Error | None:
    """Why its last try failed; nothing once it has succeeded."""
    if job.fault is None or job.state is State.SUCCEEDED:
        return None
    return pb.Error(code=job.fault.code, reason=job.fault.reason, message=job.fault.message)


def _stamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made
