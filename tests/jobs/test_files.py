"""Files over every transport: whole or not at all, and only their owner's."""

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tollway.jobs.v1 import jobs_pb2 as pb

from services.jobs.files import Files, FilesFull
from services.jobs.naming import names
from tests.jobs.test_service import Jobs, asking, both, ended
from tests.support.refusals import field_of, refused
from tests.support.stubs import Called

__all__ = ["both"]
UNKNOWN = (grpc.StatusCode.NOT_FOUND, "FILE_UNKNOWN")
INFO = pb.CreateFileRequest(info=pb.FileInfo(name="asked.jsonl", purpose="batch"))


async def said(*messages: pb.CreateFileRequest) -> AsyncIterator[pb.CreateFileRequest]:
    for one in messages:
        yield one


def pieces(*bodies: bytes) -> Iterable[pb.CreateFileRequest]:
    return (pb.CreateFileRequest(piece=body) for body in bodies)


async def read(stub: Called, file_id: str) -> bytes:
    return b"".join([one.piece async for one in stub.ReadFile(pb.ReadFileRequest(file_id=file_id))])


async def test_a_file_is_kept_listed_read_and_removed(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    made = (await stub.CreateFile(said(*pieces(b"one ", b"two"), INFO))).file
    assert (made.name, made.purpose, made.size_bytes) == ("asked.jsonl", "batch", 7)
    assert made.expires.seconds - made.created.seconds in range(30 * 86_400 - 5, 30 * 86_400 + 6)
    assert await read(stub, made.file_id) == b"one two"
    assert (await stub.GetFile(pb.GetFileRequest(file_id=made.file_id))).file == made
    second = (await stub.CreateFile(said(INFO))).file
    first_page = await stub.ListFiles(pb.ListFilesRequest(page_size=1))
    assert [one.file_id for one in first_page.files] == [second.file_id]
    rest = await stub.ListFiles(pb.ListFilesRequest(page_size=1, page_token=first_page.next_page_token))
    assert [one.file_id for one in rest.files] == [made.file_id] and not rest.next_page_token
    assert not (await stub.ListFiles(pb.ListFilesRequest(purpose="other"))).files
    await stub.DeleteFile(pb.DeleteFileRequest(file_id=made.file_id))
    assert await refused(stub.GetFile(pb.GetFileRequest(file_id=made.file_id))) == UNKNOWN


async def test_a_file_is_its_owners_alone(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    made = (await stub.CreateFile(said(*pieces(b"secret"), INFO))).file
    other = stub.by("globex/app")
    assert not (await other.ListFiles(pb.ListFilesRequest())).files
    assert await refused(other.DeleteFile(pb.DeleteFileRequest(file_id=made.file_id))) == UNKNOWN
    assert await refused(read(other, made.file_id)) == UNKNOWN
    assert await read(stub, made.file_id) == b"secret"


async def test_an_upload_without_its_info_leaves_nothing(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    assert await field_of(stub.CreateFile(said(*pieces(b"one")))) == "info"
    assert await jobs.pool.fetchval("SELECT count(*) FROM piece") == 0


async def test_what_is_past_its_time_goes(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    info = pb.FileInfo(name="short", purpose="batch", keep=Duration(seconds=1))
    made = (await stub.CreateFile(said(*pieces(b"x"), pb.CreateFileRequest(info=info)))).file
    broken = await jobs.files.begin("acme/search")
    await jobs.files.add(broken, 0, b"half")
    await jobs.pool.execute("UPDATE file SET expires = expires - interval '2 hours'")
    await jobs.files.sweep()
    assert await jobs.pool.fetchval("SELECT count(*) FROM piece") == 0
    assert await refused(read(stub, made.file_id)) == UNKNOWN


async def test_a_tenant_keeps_so_many_bytes(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    await stub.CreateFile(said(*pieces(b"0123456789"), INFO))
    small = Files(jobs.pool, most_bytes=10)
    with pytest.raises(FilesFull):
        await small.begin("acme/other")
    await small.complete(await small.begin("globex/app"), "n", "batch", timedelta())


async def test_a_line_that_was_refused_stands_among_the_results(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    wrong: Any = pb.Error(code=3, reason="invalid_value", message="no such field")
    lines = [pb.Line(custom_id="good", chat=asking("hello")), pb.Line(custom_id="bad", refused=wrong)]
    over = await ended(stub, (await stub.CreateJob(pb.CreateJobRequest(batch=pb.Batch(lines=lines)))).job.job_id)
    assert (over.state, over.succeeded, over.failed) == (pb.STATE_SUCCEEDED, 1, 1)
    found = (await stub.ListResults(pb.ListResultsRequest(job_id=over.job_id))).results
    assert found[1].state == pb.STATE_FAILED and found[1].error == wrong
    nothing = pb.Batch(lines=[pb.Line(custom_id="bad", refused=wrong)])
    made = (await stub.CreateJob(pb.CreateJobRequest(batch=nothing))).job
    assert (made.state, made.failed) == (pb.STATE_SUCCEEDED, 1) and made.HasField("ended")
    batches = (await stub.ListJobs(pb.ListJobsRequest(kind="batch", page_size=1))).jobs
    assert [one.job_id for one in batches] == [made.job_id]
    assert not (await stub.ListJobs(pb.ListJobsRequest(kind="chat"))).jobs


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b'{"body": {"user": "ann"}}', True),
        (b'{"body": {"safety_identifier": "ann"}}', True),
        (b'{"user": "ann"}', True),
        (b'{"body": {"user": "\\u0061nn"}}', True),
        (b'{"body": {"user": "anna"}}', False),
        (b'{"body": {"messages": [{"content": "ann"}]}}', False),
        (b"ann, but no JSON", False),
        (b'["ann"]', False),
        (b"", False),
    ],
)
def test_whose_request_a_line_is(line: bytes, named: bool) -> None:
    assert names(line, "ann") is named


async def test_a_line_that_is_cut_between_pieces_still_names_its_user(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    await stub.CreateFile(said(INFO, *pieces(b'{"body": {"us', b'er": "ann"}}\n{"body"', b": {}}")))
    assert await jobs.files.erase("globex", "ann") == 0 == await jobs.files.erase("acme", "ben")
    assert await jobs.files.erase("acme", "ann") == 1
