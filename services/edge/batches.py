"""`/v1/batches`: OpenAI's Batch API over jobs."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import batch as wire
from services.edge.wire.errors import Refusal

MOST_LINES, LONGEST_LINE = 100_000, 8 << 20
MOST_LISTED, LISTED = 100, 20
LINES_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Batches:
    jobs: jobs_pb2_grpc.JobsServiceStub

    async def create(self, exchange: Exchange, door: Door) -> None:
        """The same `Idempotency-Key` gives the same batch."""
        door.stream()
        body = wire.parsed(exchange.body)
        lines: list[pb.Line] = []
        async for raw in self._lines(body.input_file_id):
            if len(lines) == MOST_LINES:
                raise Refusal(
                    400, "batch_too_large", f"the file has more than {MOST_LINES} lines", param="input_file_id"
                )
            lines.append(wire.line(raw, len(lines) + 1, body.endpoint))
            if len(lines) % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # others have their turn while a large file is read
        if not lines:
            raise Refusal(400, "invalid_batch_line", "the file has no lines", param="input_file_id")
        key = exchange.headers.get(b"idempotency-key", b"")[:128].decode("latin-1")
        made = await self.jobs.CreateJob(wire.job_request(body, lines, time.time(), key))
        await exchange.answer(orjson.dumps(wire.batch(made.job)))

    async def list(self, exchange: Exchange, door: Door) -> None:
        limit, after = wire.page(exchange.query, MOST_LISTED)
        asked = pb.ListJobsRequest(kind="batch", page_size=limit or LISTED)
        if after:
            asked.page_token = wire.job_of(after)
        page = await self.jobs.ListJobs(asked)
        await exchange.answer(wire.listed([wire.batch(one) for one in page.jobs], more=bool(page.next_page_token)))

    async def get(self, exchange: Exchange, door: Door) -> None:
        job_id = wire.job_of(exchange.path.removeprefix(exchange.route))
        found = await self.jobs.GetJob(pb.GetJobRequest(job_id=job_id))
        await exchange.answer(orjson.dumps(wire.batch(found.job)))

    async def cancel(self, exchange: Exchange, door: Door) -> None:
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "cancel":
            raise exchange.unknown_url
        made = await self.jobs.CancelJob(pb.CancelJobRequest(job_id=wire.job_of(name)))
        await exchange.answer(orjson.dumps(wire.batch(made.job)))

    async def _lines(self, said: str) -> AsyncIterator[bytes]:
        """The lines of a file that are not empty."""
        of, side = wire.file_of(said)
        if side:
            raise Refusal(400, "invalid_value", "invalid value for input_file_id: this is what a batch came to",
                          param="input_file_id")  # fmt: skip
        rest = b""
        async for one in self.jobs.ReadFile(pb.ReadFileRequest(file_id=of)):
            *whole, rest = (rest + one.piece).split(b"\n")
            for raw in whole:
                if raw.strip():
                    yield raw
            if len(rest) > LONGEST_LINE:
                raise Refusal(
                    400, "invalid_batch_line", f"a line has more than {LONGEST_LINE} bytes", param="input_file_id"
                )
        if rest.strip():
            yield rest
