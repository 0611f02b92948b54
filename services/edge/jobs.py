"""`/tollway/v1/jobs`: what answers became that were not there in time, and every other job of the caller's."""

import re
import uuid
from dataclasses import dataclass

import orjson
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, job, query
from services.edge.wire.errors import Refusal
from services.runtime import identity

NAMED = re.compile(r"(?:job_)?([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Jobs:
    jobs: jobs_pb2_grpc.JobsServiceStub

    async def get(self, exchange: Exchange, door: Door) -> None:
        name, _, rest = exchange.path.removeprefix(exchange.route).partition("/")
        if rest:
            raise exchange.unknown_url
        found = (await self.jobs.GetJob(pb.GetJobRequest(job_id=_id(name)))).job
        headers = []
        if found.result.HasField("completion"):
            road = found.result.completion.road
            road.ClearField("limits")  # which were those of the time when it was answered
            headers = answer.headers(road)
        await exchange.answer(job.body(found), headers)

    async def list(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.jobs.ListJobs(
            pb.ListJobsRequest(
                state=job.state_of(asked.get("status", "")), kind=asked.get("kind", ""), page_size=query.limit(asked),
                page_token=asked.get("page_token", ""), everybody=identity.caller().admin,
            )
        )  # fmt: skip
        rows = b",".join(map(job.body, page.jobs))
        token = orjson.dumps(page.next_page_token)
        await exchange.answer(b'{"object":"list","data":[%s],"next_page_token":%s}' % (rows, token))

    async def act(self, exchange: Exchange, door: Door) -> None:
        """`/cancel` and `/retry`."""
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        match what:
            case "cancel":
                made = (await self.jobs.CancelJob(pb.CancelJobRequest(job_id=_id(name)))).job
            case "retry":
                made = (await self.jobs.RetryJob(pb.RetryJobRequest(job_id=_id(name)))).job
            case _:
                raise exchange.unknown_url
        await exchange.answer(job.body(made))

    async def delete(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        await self.jobs.DeleteJob(pb.DeleteJobRequest(job_id=_id(name)))
        await exchange.answer(orjson.dumps({"id": name, "object": "tollway.job", "deleted": True}))


def _id(name: str) -> str:
    """
    Raises:
        Refusal: this is no job's id.
    """
    if (found := NAMED.fullmatch(name)) is None:
        raise Refusal(404, "not_found", "there is no such job", param="job_id")
    return str(uuid.UUID(found[1]))
