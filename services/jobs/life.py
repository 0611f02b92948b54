"""A job's life: where it may go from where it is, when it is tried again, when it is parked."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.runtime.errors import Failure, Kind

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
MOST_ATTEMPTS = 8
TRIED_AGAIN = frozenset((4, 8, 10, 13, 14))
"""gRPC codes that another time may change: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE."""
ERASED = "ERASED"
"""Why a line ended whose end user's data was erased."""
ANSWER = "answer"
"""The kind of what was answered at once, and is kept."""
SPENT = frozenset(("BUDGET_EXCEEDED",))
"""Reasons that wait for no retry: another try needs somebody's decision."""


class State(enum.IntEnum):
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    DEAD = 6

    @property
    def over(self) -> bool:
        return self > State.RUNNING


class JobUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "JOB_UNKNOWN"
    text = "there is no job {job_id}"
    field = "job_id"


class JobsAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "JOBS_AWAY"
    text = "the jobs' database does not answer; try again soon"


class JobEnded(Failure):
    kind, reason = Kind.PRECONDITION, "JOB_ENDED"
    text = "job {job_id} has ended: it is {state}"


class JobNotEnded(Failure):
    kind, reason = Kind.PRECONDITION, "JOB_NOT_ENDED"
    text = "job {job_id} is {state}"


class JobLost(Failure):
    kind, reason = Kind.PRECONDITION, "JOB_LOST"
    text = "job {job_id} is not held by {holder}: it was cancelled, or another works at it by now"


class RequestIdReused(Failure):
    kind, reason = Kind.REUSED, "REQUEST_ID_REUSED"
    text = "other work came under request_id {request_id}"
    field = "request_id"


class JobIdReused(Failure):
    kind, reason = Kind.REUSED, "JOB_ID_REUSED"
    text = "another job is called {job_id}"
    field = "job_id"


class QueueFull(Failure):
    kind, reason = Kind.EXHAUSTED, "QUEUE_FULL"
    text = "{tenant} has {waiting} jobs waiting, and may have {most}"


class OtherAccount(Failure):
    kind, reason = Kind.DENIED, "OTHER_ACCOUNT"
    text = "{account} is not yours"
    field = "account"


class DuplicateLine(Failure):
    kind, reason = Kind.INVALID, "DUPLICATE_LINE"
    text = "two lines are called {custom_id}"
    field = "batch.lines"


class DuplicateCase(Failure):
    kind, reason = Kind.INVALID, "DUPLICATE_LINE"
    text = "two cases are called {case_id}"
    field = "evaluation.cases"


class DuplicateMeasure(Failure):
    kind, reason = Kind.INVALID, "DUPLICATE_MEASURE"
    text = "two measures are called {name}"
    field = "evaluation.measures"


class MeasureUnfit(Failure):
    kind, reason = Kind.INVALID, "MEASURE_UNFIT"
    text = "measure {name} cannot judge: {fault}"
    field = "evaluation.measures"


class CaseUnfit(Failure):
    kind, reason = Kind.INVALID, "CASE_UNFIT"
    text = "what case {case_id} expects holds no {what}, and measure {measure} needs one"
    field = "evaluation.cases"


class NotBefore(Failure):
    kind, reason = Kind.INVALID, "DEADLINE_PAST"
    text = "the deadline is not after the time that the job may begin"
    field = "deadline"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a try failed, as the gRPC status said it."""

    code: int
    reason: str
    message: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    id: UUID
    kind: str
    account: str
    key_id: str
    created: datetime
    ready: datetime
    deadline: datetime
    request: bytes = field(repr=False)
    state: State = State.QUEUED
    parent: UUID | None = None
    line: int = 0
    custom_id: str = ""
    request_id: str = ""
    priority: int = 0
    keep: timedelta = timedelta(days=1)
    started: datetime | None = None
    ended: datetime | None = None
    attempts: int = 0
    total: int = 1
    succeeded: int = 0
    failed: int = 0
    webhook: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    result: bytes | None = field(default=None, repr=False)
    digest: bytes = b""
    """Of what was handed in, where a request id names it."""
    scores: Mapping[str, float] = field(default_factory=dict)
    shown: bool = False
    """Whether its answer is shown as it grows."""
    partial: str = field(default="", repr=False)
    worker: UUID | None = None
    lease: datetime | None = None
    subject: str = ""
    """Digest of the end user whose request it is."""
    conversation: UUID | None = None
    """What it is a turn of."""

    @property
    def many(self) -> bool:
        """Whether it is no work itself, but has lines that are."""
        return self.kind in ("batch", "evaluation")

    @property
    def tenant(self) -> str:
        return self.account.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try came to: an end, or another try at `ready`."""

    job_id: UUID
    state: State
    result: bytes | None = None
    fault: Fault | None = None
    ready: datetime | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


def failed(job: Job, fault: Fault, now: datetime, chance: float) -> Outcome:
    """What becomes of a job whose try failed. `chance`, 0 to 1, spreads retries (full jitter, after Brooker 2015)."""
    if fault.code not in TRIED_AGAIN or fault.reason in SPENT:
        return Outcome(job.id, State.FAILED, fault=fault)
    if job.attempts >= MOST_ATTEMPTS:
        return Outcome(job.id, State.DEAD, fault=fault)
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (job.attempts - 1))
    ready = now + timedelta(seconds=max(fault.retry_after_s, longest * (0.5 + chance / 2)))
    if ready >= job.deadline:
        return Outcome(job.id, State.FAILED, fault=replace(fault, reason=fault.reason or "DEADLINE"))
    return Outcome(job.id, State.QUEUED, fault=fault, ready=ready)


def cancellable(job: Job) -> None:
    """
    Raises:
        JobEnded
    """
    if job.state.over:
        raise JobEnded(job_id=str(job.id), state=job.state.name.lower())


def retriable(job: Job) -> None:
    """
    Raises:
        JobNotEnded
    """
    if job.state not in (State.FAILED, State.DEAD):
        raise JobNotEnded(job_id=str(job.id), state=job.state.name.lower())


def deletable(job: Job) -> None:
    """
    Raises:
        JobNotEnded
    """
    if not job.state.over:
        raise JobNotEnded(job_id=str(job.id), state=job.state.name.lower())
