"""Messages to jobs and back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

from google.protobuf.timestamp_pb2 import Timestamp
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1.jobs_pb2_grpc import JobsServiceServicer

from services.jobs.files import File, FileInfoMissing, Files, FileUnknown
from services.jobs.life import DuplicateLine, Fault, Job, JobsAway, JobUnknown, NotBefore, State
from services.jobs.store import Store
from services.runtime import identity
from services.runtime.postgres import AWAY

PAGE = 100
A_DAY = timedelta(days=1)
WATCHED_EVERY_S = 0.2


@dataclass(slots=True)
class JobsService(JobsServiceServicer):
    store: Store
    secret: Callable[[str], str]
    """Of a tenant's webhooks."""
    noted: Callable[[], None]
    """Called after something was written for the broker."""
    most_waiting: int
    files: Files

    async def CreateJob(self, request: pb.CreateJobRequest, context: object) -> pb.CreateJobResponse:
        jobs = list(_jobs(request, datetime.now(UTC)))
        with reached():
            made = await self.store.add(jobs, self.most_waiting)
        self.noted()
        return pb.CreateJobResponse(job=_message(made))

    async def GetJob(self, request: pb.GetJobRequest, context: object) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=_message(await self._own(request.job_id)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: object) -> pb.ListJobsResponse:
        account = "" if request.everybody and identity.administrator() else identity.caller().account
        most = request.page_size or PAGE
        state = State(request.state) if request.state else None
        with reached():
            found = await self.store.listed(account, state, request.kind, _id(request.page_token), most + 1)
        token = str(found[most - 1].id) if len(found) > most else ""
        return pb.ListJobsResponse(jobs=[_message(one) for one in found[:most]], next_page_token=token)

    async def WatchJob(self, request: pb.WatchJobRequest, context: object) -> AsyncIterator[pb.WatchJobResponse]:
        told = None
        while True:
            job = await self._own(request.job_id)
            now = (job.state, job.attempts, job.succeeded, job.failed)
            if now != told:
                yield pb.WatchJobResponse(job=_message(job))
                told = now
            if job.state.over:
                return
            await asyncio.sleep(WATCHED_EVERY_S)

    async def CancelJob(self, request: pb.CancelJobRequest, context: object) -> pb.CancelJobResponse:
        await self._own(request.job_id)
        with reached():
            made = await self.store.cancel(UUID(request.job_id))
        self.noted()
        return pb.CancelJobResponse(job=_message(made))

    async def RetryJob(self, request: pb.RetryJobRequest, context: object) -> pb.RetryJobResponse:
        await self._own(request.job_id)
        with reached():
            made = await self.store.retry(UUID(request.job_id))
        self.noted()
        return pb.RetryJobResponse(job=_message(made))

    async def ListResults(self, request: pb.ListResultsRequest, context: object) -> pb.ListResultsResponse:
        await self._own(request.job_id)
        most, after = request.page_size or PAGE, int(request.page_token or -1)
        with reached():
            found = await self.store.lines(UUID(request.job_id), after, most + 1)
        token = str(found[most - 1].line) if len(found) > most else ""
        return pb.ListResultsResponse(results=[_line(one) for one in found[:most]], next_page_token=token)

    async def GetWebhookSecret(
        self, request: pb.GetWebhookSecretRequest, context: object
    ) -> pb.GetWebhookSecretResponse:
        return pb.GetWebhookSecretResponse(secret=self.secret(identity.caller().tenant))

    async def CreateFile(
        self, request_iterator: AsyncIterator[pb.CreateFileRequest], context: object
    ) -> pb.CreateFileResponse:
        info, number = None, 0
        with reached():
            made = await self.files.begin(identity.caller().account)
            async for said in request_iterator:
                if said.WhichOneof("said") == "info":
                    info = said.info
                else:
                    await self.files.add(made, number, said.piece)
                    number += 1
            if info is None:
                await self.files.delete(made)
                raise FileInfoMissing
            kept = await self.files.complete(made, info.name, info.purpose, info.keep.ToTimedelta())
        return pb.CreateFileResponse(file=_file(kept))

    async def GetFile(self, request: pb.GetFileRequest, context: object) -> pb.GetFileResponse:
        return pb.GetFileResponse(file=_file(await self._own_file(request.file_id)))

    async def ListFiles(self, request: pb.ListFilesRequest, context: object) -> pb.ListFilesResponse:
        most, after = request.page_size or PAGE, _id(request.page_token)
        with reached():
            found = await self.files.listed(identity.caller().account, request.purpose, after, most + 1)
        token = str(found[most - 1].id) if len(found) > most else ""
        return pb.ListFilesResponse(files=[_file(one) for one in found[:most]], next_page_token=token)

    async def ReadFile(self, request: pb.ReadFileRequest, context: object) -> AsyncIterator[pb.ReadFileResponse]:
        found = await self._own_file(request.file_id)
        with reached():
            async for piece in self.files.pieces(found.id):
                yield pb.ReadFileResponse(piece=piece)

    async def DeleteFile(self, request: pb.DeleteFileRequest, context: object) -> pb.DeleteFileResponse:
        found = await self._own_file(request.file_id)
        with reached():
            await self.files.delete(found.id)
        return pb.DeleteFileResponse()

    async def _own_file(self, file_id: str) -> File:
        """
        Raises:
            FileUnknown: there is none, or it is somebody else's.
        """
        with reached():
            found = await self.files.file(UUID(file_id))
        if found is None or found.account != identity.caller().account:
            raise FileUnknown(file_id=file_id)
        return found

    async def _own(self, job_id: str) -> Job:
        """The caller's, or one below it; any for an administrator.

        Raises:
            JobUnknown: there is none, or it is somebody else's: which of them, nobody is told.
        """
        caller = identity.caller()
        with reached():
            found = await self.store.job(UUID(job_id))
        if found is None or not (
            caller.admin or found.account == caller.account or found.account.startswith(f"{caller.account}/")
        ):
            raise JobUnknown(job_id=job_id)
        return found


@contextmanager
def reached() -> Iterator[None]:
    """
    Raises:
        JobsAway: the database does not answer.
    """
    try:
        yield
    except (*AWAY, TimeoutError) as error:
        raise JobsAway from error


def _jobs(request: pb.CreateJobRequest, now: datetime) -> Iterable[Job]:
    """The job, and its lines where it is a batch.

    Raises:
        DuplicateLine, NotBefore
    """
    caller = identity.caller()
    ready = request.not_before.ToDatetime(UTC) if request.HasField("not_before") else now
    deadline = request.deadline.ToDatetime(UTC) if request.HasField("deadline") else max(now, ready) + A_DAY
    if deadline <= max(now, ready):
        raise NotBefore
    kind = request.WhichOneof("work") or ""
    whole = Job(
        id=uuid4(),
        kind=kind,
        account=caller.account,
        key_id=caller.key_id,
        created=now,
        ready=max(now, ready),
        deadline=deadline,
        request=b"" if kind == "batch" else getattr(request, kind).SerializeToString(),
        request_id=request.request_id,
        priority=request.priority,
        keep=request.keep.ToTimedelta() or A_DAY,
        total=len(request.batch.lines) or 1,
        webhook=request.webhook_url,
        metadata=dict(request.metadata),
    )
    yield whole
    seen: set[str] = set()
    for number, line in enumerate(request.batch.lines):
        if line.custom_id in seen:
            raise DuplicateLine(custom_id=line.custom_id)
        seen.add(line.custom_id)
        work = line.WhichOneof("work") or ""
        refused = line.refused if work == "refused" else None
        yield replace(
            whole,
            id=uuid5(whole.id, str(number)),
            kind=work,
            parent=whole.id,
            line=number,
            custom_id=line.custom_id,
            request_id="",
            request=b"" if refused else getattr(line, work).SerializeToString(),
            state=State.FAILED if refused else State.QUEUED,
            fault=Fault(refused.code, refused.reason, refused.message) if refused else None,
            ended=now if refused else None,
            failed=1 if refused else 0,
            total=1,
            webhook="",
            metadata={},
        )


def _id(token: str) -> UUID | None:
    return UUID(token) if token else None


def _file(one: File) -> pb.File:
    return pb.File(
        file_id=str(one.id),
        name=one.name,
        purpose=one.purpose,
        size_bytes=one.size,
        created=_stamp(one.created),
        expires=_stamp(one.expires),
    )


def _message(job: Job) -> pb.Job:
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
    )
    if job.result is not None:
        made.result.MergeFromString(job.result)
    return made


def _line(job: Job) -> pb.LineResult:
    made = pb.LineResult(custom_id=job.custom_id, job_id=str(job.id), state=_state(job), error=_error(job))
    if job.result is not None:
        made.result.MergeFromString(job.result)
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
