"""`/v1/responses`: OpenAI's Responses, at once, streamed, or in the background as jobs."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.jobs.v1 import jobs_pb2, jobs_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.streaming import streamed
from services.edge.wire import answer, options, prompt, response, responses
from services.edge.wire.errors import Refusal
from services.edge.wire.response_events import Events

KEPT = re.compile(r"resp_([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Responses:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    jobs: jobs_pb2_grpc.JobsServiceStub
    reach: Callable[[], Awaitable[None]]
    """Waits for the jobs service, or refuses."""

    async def create(self, exchange: Exchange, door: Door) -> None:
        body = responses.parsed(exchange.body)
        asked = responses.chat_request(body)
        wanted = prompt.named(options.options(bytes(body.tollway), exchange.headers), body.prompt)
        if body.background:
            await self.reach()
            key, wanted.idempotency_key = wanted.idempotency_key, ""
            work = jobs_pb2.Chat(chat=asked, options=wanted)
            made = await self.jobs.CreateJob(jobs_pb2.CreateJobRequest(chat=work, request_id=key))
            made.job.chat.CopyFrom(work)
            await exchange.answer(orjson.dumps(response.of_job(made.job)))
            return
        frame = response.frame(asked, response.response_id(str(uuid.uuid4())), int(time.time()))
        if body.stream:
            door.stream()
            call = self.gateway.StreamComplete(pb.StreamCompleteRequest(chat=asked, options=wanted))
            await streamed(exchange, call, answer.headers, lambda _: Events(frame))
            return
        whole = await self.gateway.Complete(pb.CompleteRequest(chat=asked, options=wanted))
        if whole.deferred_job_id:
            found = await self._job(whole.deferred_job_id)
            await exchange.answer(orjson.dumps(response.of_job(found)), status=202)
            return
        said = response.answered(frame, whole.completion)
        await exchange.answer(orjson.dumps(said), answer.headers(whole.road))

    async def get(self, exchange: Exchange, door: Door) -> None:
        name, _, rest = exchange.path.removeprefix(exchange.route).partition("/")
        if rest:
            raise exchange.unknown_url
        found = await self._job(_job_of(name))
        await exchange.answer(orjson.dumps(response.of_job(found)))

    async def cancel(self, exchange: Exchange, door: Door) -> None:
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "cancel":
            raise exchange.unknown_url
        job = await self._job(_job_of(name))
        if job.state <= jobs_pb2.STATE_RUNNING:
            made = (await self.jobs.CancelJob(jobs_pb2.CancelJobRequest(job_id=job.job_id))).job
            made.chat.CopyFrom(job.chat)
            job = made
        await exchange.answer(orjson.dumps(response.of_job(job)))

    async def delete(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        job = await self._job(_job_of(name))
        await self.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job.job_id))
        await exchange.answer(orjson.dumps({"id": name, "object": "response", "deleted": True}))

    async def _job(self, job_id: str) -> jobs_pb2.Job:
        """A completion among the caller's jobs: no other is a response."""
        found = (await self.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id, with_request=True))).job
        if found.kind != "chat":
            raise _unknown()
        return found


def _job_of(name: str) -> str:
    """
    Raises:
        Refusal: this is no response's id.
    """
    if (found := KEPT.fullmatch(name)) is None:
        raise _unknown()
    return str(uuid.UUID(found[1]))


def _unknown() -> Refusal:
    return Refusal(404, "not_found", "there is no such response: only those made in the background are kept",
                   param="response_id")  # fmt: skip
