"""`/tollway/v1/jobs`: what answers became that were not there in time, and every other job of the caller's."""

import re
import uuid
from dataclasses import dataclass

import orjson
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, job
from services.edge.wire.errors import Refusal

NAMED = re.compile(r"(?:job_)?([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Jobs:
    jobs: jobs_pb2_grpc.JobsServiceStub

    async def get(self, exchange: Exchange, door: Door) -> None:
        name, _, rest = exchange.path.removeprefix(exchange.route).partition("/")
        if rest:
            raise Refusal(404, "unknown_url", f"unknown URL: GET {exchange.path[:200]}")
        found = (await self.jobs.GetJob(pb.GetJobRequest(job_id=_id(name)))).job
        headers = answer.headers(found.result.completion.road) if found.result.HasField("completion") else []
        await exchange.answer(job.body(found), headers)

    async def cancel(self, exchange: Exchange, door: Door) -> None:
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "cancel":
            raise Refusal(404, "unknown_url", f"unknown URL: POST {exchange.path[:200]}")
        made = await self.jobs.CancelJob(pb.CancelJobRequest(job_id=_id(name)))
        await exchange.answer(job.body(made.job))

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
