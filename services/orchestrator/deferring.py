"""Answers that are not there in time become jobs. The work goes on here; a worker begins again only if it is lost."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
from google.protobuf.duration_pb2 import Duration
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2, jobs_pb2_grpc

from services.orchestrator.desk import Desk
from services.runtime import channels, identity
from services.runtime.status import info_in, info_of, status_of

log = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("3d4f9a52-6c4c-4f0e-8a44-b0f5e7a7c9d1")
LONGEST_S = 600.0
"""As long as a job's own call may take."""
BEATS_A_LEASE = 3
LOOKS_EVERY_S = 0.1
CALL_S = 5.0
LAST_S = 3.0
"""For work that is under way when the process ends: what is not done by then is a worker's."""

Complete = Callable[[pb.CompleteRequest], Awaitable[pb.CompleteResponse]]


@dataclass(slots=True)
class Deferring:
    jobs: jobs_pb2_grpc.JobsServiceStub
    desk: Desk
    _works: set["asyncio.Task[pb.CompleteResponse]"] = field(default_factory=set)
    _reports: set["asyncio.Task[None]"] = field(default_factory=set)

    async def complete(self, request: pb.CompleteRequest, work: Complete) -> pb.CompleteResponse:
        """The answer, or the job that it will be the result of. The same idempotency key leads to the same job."""
        options, until = request.options, time.monotonic() + request.options.defer_after.ToTimedelta().total_seconds()
        job_id = str(uuid.uuid4())
        if options.idempotency_key:
            job_id = str(uuid.uuid5(NAMESPACE, f"{identity.caller().account}\0{options.idempotency_key}"))
            if (found := await self._collected(job_id, until)) is not None:
                return found
        asked = pb.CompleteRequest()
        asked.CopyFrom(request)
        asked.options.idempotency_key = job_id  # a worker that has to begin again goes by the same
        task = asyncio.create_task(_beyond(work, asked))
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        handed = False
        try:
            await asyncio.wait({task}, timeout=until - time.monotonic())
            if not task.done():
                handed = await self._handed_over(job_id, asked, task)
            return pb.CompleteResponse(deferred_job_id=job_id) if handed else await task
        finally:
            if not handed and not task.done():
                task.cancel()  # the caller left

    async def close(self) -> None:
        """Waits a little for what is under way. The rest is given up and said so: workers take it up at once."""
        if self._works:
            await asyncio.wait(self._works, timeout=LAST_S)
        for task in self._works:
            task.cancel()
        if self._reports:
            await asyncio.wait(self._reports, timeout=CALL_S)

    async def _collected(self, job_id: str, until: float) -> pb.CompleteResponse | None:
        """What an earlier call under the same key became; None when that call was not deferred, or nobody can say."""
        try:
            while True:
                job = (await self.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id), timeout=CALL_S)).job
                if job.result.HasField("completion"):
                    return job.result.completion
                if job.state > jobs_pb2.STATE_RUNNING or time.monotonic() >= until:
                    return pb.CompleteResponse(deferred_job_id=job_id)
                await asyncio.sleep(LOOKS_EVERY_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                log.warning("nobody says whether a request was deferred before: %s", error.code().name)
            return None

    async def _handed_over(
        self, job_id: str, asked: pb.CompleteRequest, task: "asyncio.Task[pb.CompleteResponse]"
    ) -> bool:
        """Makes a job of work under way. False when nobody takes jobs: then its caller waits after all."""
        holder = str(uuid.uuid4())
        request = jobs_pb2.CreateJobRequest(
            chat=jobs_pb2.Chat(chat=asked.chat, options=asked.options),
            holding=jobs_pb2.Holding(job_id=job_id, holder=holder),
        )
        try:
            made = await self.jobs.CreateJob(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            log.warning("an answer could not be deferred: %s", error.code().name)
            return False
        report = asyncio.create_task(self._report(job_id, holder, made.lease, task))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)
        return True

    async def _report(
        self, job_id: str, holder: str, lease: Duration, task: "asyncio.Task[pb.CompleteResponse]"
    ) -> None:
        channels.DEADLINE.set(None)
        said = jobs_pb2.ReportJobRequest(job_id=job_id, holder=holder)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=lease.ToTimedelta().total_seconds() / BEATS_A_LEASE)
                if not task.done():
                    lease = (await self._said(said)).lease
            _end(said, task)
            await self._said(said)
        except grpc.aio.AioRpcError as error:
            if info_of(error).reason != "JOB_LOST":
                log.error("a deferred answer could not be reported: %s", error.code().name)
            task.cancel()  # cancelled, or somebody else's by now

    async def _said(self, said: jobs_pb2.ReportJobRequest) -> jobs_pb2.ReportJobResponse:
        done = await self.desk.insisted(lambda: self.jobs.ReportJob(said, timeout=CALL_S))
        assert isinstance(done, jobs_pb2.ReportJobResponse)
        return done


async def _beyond(work: Complete, asked: pb.CompleteRequest) -> pb.CompleteResponse:
    """Goes on when its caller's time is over."""
    channels.DEADLINE.set(time.monotonic() + LONGEST_S)
    return await work(asked)


def _end(said: jobs_pb2.ReportJobRequest, task: "asyncio.Task[pb.CompleteResponse]") -> None:
    """How the work ended, in a report's words."""
    if task.cancelled():
        said.error.code, said.error.reason = grpc.StatusCode.UNAVAILABLE.value[0], "SHUTTING_DOWN"
        said.error.message = "the orchestrator was stopped"
    elif isinstance(error := task.exception(), Exception):
        status = status_of(error, "gateway.tollway")
        said.error.code, said.error.message = status.code, status.message[:500]
        said.error.reason = info_in(status).reason or "FAILED"
    else:
        said.result.completion.CopyFrom(task.result())
