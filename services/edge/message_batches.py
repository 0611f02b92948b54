"""`/v1/messages/batches`: Anthropic's batches over jobs."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.files import LINES, results
from services.edge.waiting import Behind, Handler
from services.edge.wire import message_batch as wire
from services.edge.wire.errors import Refusal

LINES_AT_ONCE = 20
RESULTS = "results"


@dataclass(frozen=True, slots=True)
class MessageBatches:
    jobs: jobs_pb2_grpc.JobsServiceStub

    def routes(self, behind: Behind) -> dict[str, dict[str, Handler]]:
        return {wire.BATCHES: {"GET": behind(self.list), "POST": behind(self.create)}}

    def prefixes(self, behind: Behind) -> dict[str, dict[str, Handler]]:
        return {
            f"{wire.BATCHES}/": {
                "GET": behind(self.get),
                "POST": behind(self.act),
                "DELETE": behind(self.delete),
            }
        }

    async def create(self, exchange: Exchange, door: Door) -> None:
        """The same `Idempotency-Key` gives the same batch."""
        lines: list[pb.Line] = []
        for one in wire.parsed(exchange.body).requests:
            lines.append(wire.line(one))
            if len(lines) % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # others have their turn while a large batch is read
        key = exchange.headers.get(b"idempotency-key", b"")[:128].decode("latin-1")
        made = await self.jobs.CreateJob(wire.job_request(lines, time.time(), key))
        await exchange.answer(orjson.dumps(wire.batch(made.job)))

    async def list(self, exchange: Exchange, door: Door) -> None:
        page = await self.jobs.ListJobs(wire.paged(exchange.query))
        await exchange.answer(wire.listed([wire.batch(one) for one in page.jobs], more=bool(page.next_page_token)))

    async def get(self, exchange: Exchange, door: Door) -> None:
        job_id, what = self._named(exchange)
        if what not in ("", RESULTS):
            raise exchange.unknown_url
        job = (await self.jobs.GetJob(pb.GetJobRequest(job_id=job_id))).job
        if not what:
            await exchange.answer(orjson.dumps(wire.batch(job)))
            return
        if not job.HasField("ended"):
            raise Refusal(409, "not_ended", "the batch is being worked on: its results are there when it has ended")
        door.stream()
        await exchange.answer_in_pieces(self._lines(job_id), LINES)

    async def act(self, exchange: Exchange, door: Door) -> None:
        job_id, what = self._named(exchange)
        if what != "cancel":
            raise exchange.unknown_url
        made = await self.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id))
        await exchange.answer(orjson.dumps(wire.batch(made.job)))

    async def delete(self, exchange: Exchange, door: Door) -> None:
        job_id, what = self._named(exchange)
        if what:
            raise exchange.unknown_url
        await self.jobs.DeleteJob(pb.DeleteJobRequest(job_id=job_id))
        await exchange.answer(wire.deleted(job_id))

    def _named(self, exchange: Exchange) -> tuple[str, str]:
        """The job of the batch in the path, and what is wanted of it."""
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        return wire.job_of(name), what

    async def _lines(self, job_id: str) -> AsyncIterator[bytes]:
        async for page in results(self.jobs, job_id):
            yield b"".join(map(wire.result, page))
