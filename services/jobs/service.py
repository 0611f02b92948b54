"""Messages to jobs and back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1.jobs_pb2_grpc import JobsServiceServicer

from services.jobs import life, messages
from services.jobs.alerts import Hooks
from services.jobs.conversations import Conversations, NoTurn
from services.jobs.files import File, FileInfoMissing, Files, FileUnknown
from services.jobs.life import ANSWER, Fault, Job, JobLost, JobsAway, JobUnknown, OtherAccount, Outcome, State
from services.jobs.store import Store
from services.runtime import identity
from services.runtime.postgres import AWAY
from services.runtime.subjects import digest

PAGE = 100
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
    lease: timedelta
    hooks: Hooks
    conversations: Conversations

    async def CreateJob(self, request: pb.CreateJobRequest, context: object) -> pb.CreateJobResponse:
        jobs = list(messages.jobs(request, identity.scoped("jobs"), datetime.now(UTC), self.lease))
        await self._may_say(jobs[0])
        with reached():
            made = await self.store.add(jobs, self.most_waiting)
        self.noted()
        return pb.CreateJobResponse(job=messages.message(made), lease=messages.duration(self.lease))

    async def KeepAnswer(self, request: pb.KeepAnswerRequest, context: object) -> pb.KeepAnswerResponse:
        made = messages.answer(request, identity.scoped("jobs"), datetime.now(UTC))
        if request.turn_alone and made.conversation is None:
            raise NoTurn
        await self._may_say(made)
        with reached():
            await (self.store.say if request.turn_alone else self.store.keep)(made)
        return pb.KeepAnswerResponse()

    async def GetJob(self, request: pb.GetJobRequest, context: object) -> pb.GetJobResponse:
        found = await self._own(request.job_id)
        made = messages.message(found)
        if found.kind == "evaluation":
            with reached():
                made.scores.update(await self.store.scores(found.id))
        if request.with_request and found.kind in ("chat", ANSWER):
            made.chat.MergeFromString(found.request)
        return pb.GetJobResponse(job=made)

    async def ListJobs(self, request: pb.ListJobsRequest, context: object) -> pb.ListJobsResponse:
        account = "" if request.everybody and identity.administrator() else identity.scoped("jobs").account
        most = request.page_size or PAGE
        state = State(request.state) if request.state else None
        with reached():
            found = await self.store.listed(account, state, request.kind, _id(request.page_token), most + 1)
        token = str(found[most - 1].id) if len(found) > most else ""
        return pb.ListJobsResponse(jobs=[messages.message(one) for one in found[:most]], next_page_token=token)

    async def WatchJob(self, request: pb.WatchJobRequest, context: object) -> AsyncIterator[pb.WatchJobResponse]:
        told = None
        while True:
            job = await self._own(request.job_id)
            now = (job.state, job.attempts, job.succeeded, job.failed, job.partial)
            if now != told:
                yield pb.WatchJobResponse(job=messages.message(job))
                told = now
            if job.state.over:
                return
            await asyncio.sleep(WATCHED_EVERY_S)

    async def CancelJob(self, request: pb.CancelJobRequest, context: object) -> pb.CancelJobResponse:
        await self._own(request.job_id)
        with reached():
            made = await self.store.cancel(UUID(request.job_id))
        self.noted()
        return pb.CancelJobResponse(job=messages.message(made))

    async def RetryJob(self, request: pb.RetryJobRequest, context: object) -> pb.RetryJobResponse:
        await self._own(request.job_id)
        with reached():
            made = await self.store.retry(UUID(request.job_id))
        self.noted()
        return pb.RetryJobResponse(job=messages.message(made))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: object) -> pb.DeleteJobResponse:
        await self._own(request.job_id)
        with reached():
            await self.store.delete(UUID(request.job_id))
        return pb.DeleteJobResponse()

    async def ReportJob(self, request: pb.ReportJobRequest, context: object) -> pb.ReportJobResponse:
        job, holder, said = await self._own(request.job_id), UUID(request.holder), request.error
        with reached():
            match request.WhichOneof("end"):
                case "result":
                    end = Outcome(job.id, State.SUCCEEDED, result=request.result.SerializeToString())
                    holds = bool(await self.store.finish(holder, [end]))
                case "error":
                    fault = Fault(said.code, said.reason, said.message)
                    end = life.failed(job, fault, datetime.now(UTC), random.random())
                    holds = bool(await self.store.finish(holder, [end]))
                case _:
                    holds = await self.store.held(job.id, holder, self.lease)
        if not holds:
            raise JobLost(job_id=request.job_id, holder=request.holder)
        self.noted()
        return pb.ReportJobResponse(lease=messages.duration(self.lease))

    async def ListResults(self, request: pb.ListResultsRequest, context: object) -> pb.ListResultsResponse:
        await self._own(request.job_id)
        most, after = request.page_size or PAGE, int(request.page_token or -1)
        with reached():
            found = await self.store.lines(UUID(request.job_id), after, most + 1, request.with_request)
        token = str(found[most - 1].line) if len(found) > most else ""
        return pb.ListResultsResponse(results=[messages.line(one) for one in found[:most]], next_page_token=token)

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: object) -> pb.ListDeliveriesResponse:
        await self._own(request.job_id)
        with reached():
            found = await self.store.log(UUID(request.job_id))
        return pb.ListDeliveriesResponse(deliveries=map(messages.delivery, found))

    async def SetAlertHook(self, request: pb.SetAlertHookRequest, context: object) -> pb.SetAlertHookResponse:
        made = pb.AlertHook(account=_below(request.hook.account), url=request.hook.url)
        with reached():
            await self.hooks.set(made.account, made.url)
        return pb.SetAlertHookResponse(hook=made)

    async def DeleteAlertHook(self, request: pb.DeleteAlertHookRequest, context: object) -> pb.DeleteAlertHookResponse:
        with reached():
            await self.hooks.delete(_below(request.account))
        return pb.DeleteAlertHookResponse()

    async def ListAlertHooks(self, request: pb.ListAlertHooksRequest, context: object) -> pb.ListAlertHooksResponse:
        caller, most = identity.scoped("jobs"), request.page_size or PAGE
        with reached():
            found = await self.hooks.listed("" if caller.admin else caller.account, request.page_token, most + 1)
        hooks = [pb.AlertHook(account=account, url=url) for account, url in found[:most]]
        return pb.ListAlertHooksResponse(hooks=hooks, next_page_token=found[most - 1][0] if len(found) > most else "")

    async def GetWebhookSecret(
        self, request: pb.GetWebhookSecretRequest, context: object
    ) -> pb.GetWebhookSecretResponse:
        return pb.GetWebhookSecretResponse(secret=self.secret(identity.scoped("jobs").tenant))

    async def CreateFile(
        self, request_iterator: AsyncIterator[pb.CreateFileRequest], context: object
    ) -> pb.CreateFileResponse:
        info, number = None, 0
        with reached():
            made = await self.files.begin(identity.scoped("jobs").account)
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
        return pb.CreateFileResponse(file=messages.file(kept))

    async def GetFile(self, request: pb.GetFileRequest, context: object) -> pb.GetFileResponse:
        return pb.GetFileResponse(file=messages.file(await self._own_file(request.file_id)))

    async def ListFiles(self, request: pb.ListFilesRequest, context: object) -> pb.ListFilesResponse:
        most, after = request.page_size or PAGE, _id(request.page_token)
        with reached():
            found = await self.files.listed(identity.scoped("jobs").account, request.purpose, after, most + 1)
        token = str(found[most - 1].id) if len(found) > most else ""
        return pb.ListFilesResponse(files=[messages.file(one) for one in found[:most]], next_page_token=token)

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

    async def Erase(self, request: pb.EraseRequest, context: object) -> pb.EraseResponse:
        tenant, subject = request.tenant, request.subject
        with reached():
            erased = {
                "jobs": await self.store.erase(tenant, digest(tenant, subject)),
                "files": await self.files.erase(tenant, subject),
                "conversations": await self.conversations.erase(tenant, digest(tenant, subject)),
            }
            if not subject:
                erased["hooks"] = await self.hooks.erase(tenant)
        self.noted()
        return pb.EraseResponse(erased=erased)

    async def _may_say(self, job: Job) -> None:
        """
        Raises:
            ConversationUnknown: it is a turn of none, or of somebody else's.
        """
        if job.conversation is not None:
            with reached():
                await self.conversations.own(job.conversation, identity.scoped("jobs"))

    async def _own_file(self, file_id: str) -> File:
        """
        Raises:
            FileUnknown: there is none, or it is somebody else's.
        """
        with reached():
            found = await self.files.file(UUID(file_id))
        if found is None or found.account != identity.scoped("jobs").account:
            raise FileUnknown(file_id=file_id)
        return found

    async def _own(self, job_id: str) -> Job:
        """The caller's, or one below it; any for an administrator.

        Raises:
            JobUnknown: there is none, or it is somebody else's: which of them, nobody is told.
        """
        caller = identity.scoped("jobs")
        with reached():
            found = await self.store.job(UUID(job_id))
        if found is None or not caller.over(found.account):
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


def _below(account: str) -> str:
    """The account asked about, the caller's own without one: of its own tree, or any for an administrator.

    Raises:
        OtherAccount
    """
    caller = identity.scoped("jobs")
    asked = account or caller.account
    if not caller.over(asked):
        raise OtherAccount(account=asked)
    return asked


def _id(token: str) -> UUID | None:
    return UUID(token) if token else None
