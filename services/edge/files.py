"""`/v1/files`: what batches are made of, what they came to, and what goes into vector stores."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.duration_pb2 import Duration
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import batch as wire
from services.edge.wire.errors import Refusal
from services.edge.wire.multipart import Upload

PURPOSES = ("batch", "assistants", "user_data")
"""What files are for: to be worked on line by line, or to go into vector stores."""
PIECE_BYTES = 512 << 10
PAGE, MOST_LISTED = 50, 10_000
"""Results at once: one may hold a few megabytes of vectors."""
LINES = (b"content-type", b"application/jsonl")


@dataclass(frozen=True, slots=True)
class Files:
    jobs: jobs_pb2_grpc.JobsServiceStub
    largest_bytes: int

    async def create(self, exchange: Exchange, door: Door) -> None:
        """Passes the upload on as it comes: no more of it than a piece is ever here."""
        door.stream()
        if b"content-encoding" in exchange.headers:
            raise Refusal(415, "unsupported_encoding", "an upload must have no content-encoding")
        upload = Upload(exchange.headers.get(b"content-type", b""))
        call: Any = self.jobs.CreateFile()
        whole = False
        try:
            waits = bytearray()
            async for piece in exchange.pieces(self.largest_bytes):
                waits += upload.feed(piece)
                while len(waits) >= PIECE_BYTES:
                    await call.write(pb.CreateFileRequest(piece=bytes(waits[:PIECE_BYTES])))
                    del waits[:PIECE_BYTES]
            upload.finish()
            if waits:
                await call.write(pb.CreateFileRequest(piece=bytes(waits)))
            await call.write(pb.CreateFileRequest(info=_info(upload)))
            await call.done_writing()
            made = await call
            whole = True
        finally:
            if not whole:
                call.cancel()
        await exchange.answer(orjson.dumps(wire.file(made.file)))

    async def list(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        limit, after = wire.page(asked, MOST_LISTED)
        token = wire.file_of(after)[0] if after else ""
        page = await self.jobs.ListFiles(
            pb.ListFilesRequest(purpose=asked.get("purpose", "")[:64], page_size=limit or MOST_LISTED, page_token=token)
        )
        await exchange.answer(wire.listed([wire.file(one) for one in page.files], more=bool(page.next_page_token)))

    async def get(self, exchange: Exchange, door: Door) -> None:
        name, _, rest = exchange.path.removeprefix(exchange.route).partition("/")
        of, side = wire.file_of(name)
        if rest not in ("", "content"):
            raise exchange.unknown_url
        if rest == "content":
            await self._content(exchange, door, of, side)
        elif side:
            await exchange.answer(orjson.dumps(await self._made(of, side)))
        else:
            found = await self.jobs.GetFile(pb.GetFileRequest(file_id=of))
            await exchange.answer(orjson.dumps(wire.file(found.file)))

    async def delete(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        of, side = wire.file_of(name)
        if side:
            raise Refusal(400, "not_deletable", "what a batch came to goes when its time is over", param="file_id")
        await self.jobs.DeleteFile(pb.DeleteFileRequest(file_id=of))
        await exchange.answer(wire.deleted(name))

    async def _content(self, exchange: Exchange, door: Door, of: str, side: str) -> None:
        door.stream()
        if side:
            await exchange.answer_in_pieces(self._results(await self._batch(of), side), LINES)
        else:
            await exchange.answer_in_pieces(self._stored(of), (b"content-type", b"application/octet-stream"))

    async def _stored(self, of: str) -> AsyncIterator[bytes]:
        async for one in self.jobs.ReadFile(pb.ReadFileRequest(file_id=of)):
            yield one.piece

    async def _batch(self, of: str) -> pb.Job:
        return (await self.jobs.GetJob(pb.GetJobRequest(job_id=of))).job

    async def _results(self, job: pb.Job, side: str) -> AsyncIterator[bytes]:
        """A batch's answers or errors are made from its results when somebody reads them."""
        endpoint = wire.endpoint_of(job)
        async for page in results(self.jobs, job.job_id, with_request=wire.repeats(endpoint)):
            yield b"".join(wire.result(one, side, endpoint) for one in page)

    async def _made(self, of: str, side: str) -> dict[str, Any]:
        job, size = await self._batch(of), 0
        async for piece in self._results(job, side):
            size += len(piece)
        found = wire.file(pb.File(file_id=of, name=f"{wire.batch_id(of)}{side}.jsonl", purpose="batch_output"))
        times = {"created_at": job.ended.seconds, "expires_at": None}
        return {**found, **times, "id": wire.file_id(of, side), "bytes": size}


async def results(
    jobs: jobs_pb2_grpc.JobsServiceStub, job_id: str, *, with_request: bool = False
) -> AsyncIterator[Iterable[pb.LineResult]]:
    """What a batch came to, a page at a time."""
    asked = pb.ListResultsRequest(job_id=job_id, page_size=PAGE, with_request=with_request)
    while True:
        page = await jobs.ListResults(asked)
        yield page.results
        if not (token := page.next_page_token):
            return
        asked.page_token = token


def _info(upload: Upload) -> pb.FileInfo:
    purpose = upload.fields.get("purpose", "")
    if purpose not in PURPOSES:
        allowed = ", ".join(PURPOSES)
        raise Refusal(400, "invalid_value", f"invalid value for purpose: allowed are {allowed}", param="purpose")
    keep = upload.fields.get("expires_after[seconds]", "0")
    if not keep.isdecimal() or int(keep) > wire.A_MONTH_S:
        raise Refusal(
            400, "invalid_value", f"invalid value for expires_after: at most {wire.A_MONTH_S} seconds",
            param="expires_after",
        )  # fmt: skip
    return pb.FileInfo(name=upload.filename, purpose=purpose, keep=Duration(seconds=int(keep)))
