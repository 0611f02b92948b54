"""The one transport rule: a call behaves the same in process, over a unix socket and over TCP."""

import asyncio
import gc
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import QuotaFailure, RetryInfo
from grpc_status import rpc_status

from services.runtime import channels
from services.runtime.server import Serving, serving
from services.runtime.status import info_of
from tests.runtime.echo import Echo, Stub, said
from tests.support.scale import sized
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.waiting import until

COLOUR: ContextVar[str] = ContextVar("colour", default="none")
Code = grpc.StatusCode


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture(params=TRANSPORTS)
async def stub(request: pytest.FixtureRequest, echo: Echo) -> AsyncIterator[Stub]:
    async with channel_to(echo.service(), request.param) as channel:
        made = Stub(channel)
        await made.unary(said("first"))  # sockets connect when first used
        echo.begun = echo.finished = 0
        yield made


@asynccontextmanager
async def draining(
    echo: Echo, transport: str, drain_s: float
) -> AsyncIterator[tuple[Stub, Callable[[], Awaitable[None]]]]:
    """A stub whose channel stays open while the server stops: the second value stops it."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        address = f"unix:{folder}/s" if transport == "unix" else "127.0.0.1:0"
        server = serving(echo.service(), Serving(address, lame_duck_s=0.0, drain_s=drain_s), inproc="draining")
        served = await server.__aenter__()
        async with channels.open("inproc:draining" if transport == "inproc" else served) as channel:

            async def drain() -> None:
                await server.__aexit__(None, None, None)

            yield Stub(channel), drain


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


# One message each way


async def test_an_answer_comes_back(stub: Stub) -> None:
    assert (await stub.unary(said("hello"))).value == "hello"


async def test_metadata_goes_both_ways(stub: Stub) -> None:
    call = stub.unary(said("metadata"), metadata=(("x-word", "blue"), ("x-raw-bin", b"\x01\xfe")))
    assert (await call).value == r"blue b'\x01\xfe'"
    assert ("x-first", "1") in tuple(await call.initial_metadata())
    assert dict(await call.trailing_metadata())["x-last"] == "2"
    assert dict(await call.trailing_metadata())["x-raw-bin"] == b"\x00\xff"
    assert await call.code() is Code.OK


async def test_a_refusal_carries_its_reason_facts_and_advice(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.unary(said("refuse:milk"))
    info, status = info_of(caught.value), rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED
    assert caught.value.details() == "nothing left of milk"
    assert (info.reason, info.domain, info.metadata["thing"]) == ("EMPTY", "echo.tollway", "milk")
    retry, quota = RetryInfo(), QuotaFailure()
    assert status is not None
    assert status.details[1].Unpack(retry) and status.details[2].Unpack(quota)
    assert (retry.retry_delay.ToMilliseconds(), quota.violations[0].subject) == (1500, "acme:main")


async def test_a_bug_does_not_talk(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.unary(said("bug:hunter2"))
    assert caught.value.code() is Code.INTERNAL
    assert "hunter2" not in repr(caught.value)


async def test_an_abort_keeps_code_text_and_trailers(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.unary(said("abort:gone"))
    assert (caught.value.code(), caught.value.details()) == (Code.DATA_LOSS, "gone")
    assert dict(caught.value.trailing_metadata())["x-why"] == "told to"


async def test_a_method_that_is_not_there(stub: Stub) -> None:
    assert await code_of(stub.missing(said(""))) is Code.UNIMPLEMENTED


async def test_the_deadline_ends_both_sides(stub: Stub, echo: Echo) -> None:
    assert await code_of(stub.unary(said("sleep:5"), timeout=0.1)) is Code.DEADLINE_EXCEEDED
    await until(lambda: echo.cancelled == 1)


async def test_a_deadline_that_has_passed_never_begins(stub: Stub, echo: Echo) -> None:
    assert await code_of(stub.unary(said("hello"), timeout=-1.0)) is Code.DEADLINE_EXCEEDED
    await asyncio.sleep(0.05)
    assert echo.cancelled == echo.begun


async def test_the_server_knows_what_is_left(stub: Stub) -> None:
    left = float((await stub.unary(said("left"), timeout=2.0)).value)
    assert 1.0 < left < 2.1
    assert (await stub.unary(said("left"))).value == "None"


async def test_the_deadline_ends_all_calls_below(stub: Stub, echo: Echo) -> None:
    echo.peer = stub
    # Long enough that the third has begun, on a machine that stands still for a moment, too.
    assert await code_of(stub.unary(said("ask:ask:sleep:30"), timeout=2.0)) is Code.DEADLINE_EXCEEDED
    await until(lambda: echo.begun == 3 and echo.finished == 3)
    # Over a socket each call has a timer of its own, so a handler may hear of the deadline from the call below it first.
    assert echo.cancelled >= 1
    assert echo.cancelled + echo.told_late == 3


async def test_an_earlier_deadline_of_a_call_below_holds(stub: Stub, echo: Echo) -> None:
    echo.peer = stub
    assert await code_of(stub.unary(said("ask:ask soon:sleep:5"), timeout=60.0)) is Code.DEADLINE_EXCEEDED
    await until(lambda: echo.finished == 3)
    assert echo.cancelled == 1


async def test_the_deadline_ends_a_call_that_the_handler_left_behind(stub: Stub, echo: Echo) -> None:
    echo.peer = stub
    await stub.unary(said("leave:sleep:60"), timeout=2.0)
    await until(lambda: echo.begun == 2)
    await until(lambda: echo.cancelled == 1 and echo.finished == 2)
    await until(lambda: all(one.done() for one in echo.left))


async def test_a_call_never_outlives_the_running_ones_deadline(stub: Stub) -> None:
    loop = asyncio.get_running_loop()
    token = channels.DEADLINE.set(loop.time() + 0.5)
    try:
        left = float((await stub.unary(said("left"), timeout=60.0)).value)
    finally:
        channels.DEADLINE.reset(token)
    assert left < 0.6


async def test_cancelling_the_call_cancels_the_server(stub: Stub, echo: Echo) -> None:
    call = stub.unary(said("sleep:5"))
    await until(lambda: echo.begun == 1)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled() and await call.code() is Code.CANCELLED
    await until(lambda: echo.cancelled == 1)


async def test_cancelling_the_waiting_task_cancels_the_server(stub: Stub, echo: Echo) -> None:
    async def ask() -> None:
        await stub.unary(said("sleep:5"))

    task = asyncio.create_task(ask())
    await until(lambda: echo.begun == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: echo.cancelled == 1)


async def test_a_call_begins_without_being_awaited(stub: Stub, echo: Echo) -> None:
    call = stub.unary(said("hello"))
    await until(lambda: echo.finished == 1)
    assert (await call).value == "hello"


async def test_a_finished_call_cannot_be_cancelled(stub: Stub) -> None:
    call = stub.unary(said("hello"))
    await call
    assert not call.cancel() and call.done()


async def test_callbacks_hear_of_the_end(stub: Stub) -> None:
    heard: list[bool] = []
    call = stub.unary(said("hello"))
    call.add_done_callback(lambda ended: heard.append(ended.done()))
    await call
    await until(lambda: heard == [True])


async def test_a_message_is_a_copy(stub: Stub, echo: Echo) -> None:
    async def change(text: str, context: Any) -> StringValue:
        kept.append(said(text))
        return kept[0]

    kept: list[StringValue] = []
    echo._done = change  # type: ignore[method-assign]
    answer = await stub.unary(said("before"))
    answer.value = "after"
    assert kept[0].value == "before"


async def test_context_variables_do_not_cross(stub: Stub, echo: Echo) -> None:
    COLOUR.set("red")
    seen: list[str] = []

    async def look(text: str, context: Any) -> StringValue:
        seen.append(COLOUR.get())
        COLOUR.set("blue")
        return said(text)

    echo._done = look  # type: ignore[method-assign]
    await stub.unary(said("hello"))
    assert seen == ["none"] and COLOUR.get() == "red"


async def test_many_at_once(stub: Stub) -> None:
    asked = [f"n{n}" for n in range(sized(300, 5000))]
    answers = await asyncio.gather(*(stub.unary(said(text)) for text in asked))
    assert [one.value for one in answers] == asked


# Streams of answers


async def test_a_stream_comes_in_order(stub: Stub) -> None:
    assert [one.value async for one in stub.counted(said("100"))] == [str(n) for n in range(100)]
    assert [one.value async for one in stub.written(said("3"))] == ["0", "1", "2"]


async def test_a_stream_can_be_read_one_by_one(stub: Stub) -> None:
    call = stub.counted(said("2"))
    assert [(await call.read()).value, (await call.read()).value] == ["0", "1"]
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is Code.OK


async def test_a_stream_that_fails_keeps_what_came_before(stub: Stub) -> None:
    got = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for one in stub.counted(said("3:1:refuse")):
            got.append(one.value)
    assert got == ["0", "1", "2"]
    assert info_of(caught.value).reason == "EMPTY"


async def test_a_slow_reader_holds_the_writer_back(stub: Stub, echo: Echo) -> None:
    call = stub.counted(said("2000:65536"))
    await call.read()
    await asyncio.sleep(0.3)
    assert echo.produced < 400  # sockets buffer some; without back-pressure it would be all 2000
    call.cancel()
    await until(lambda: echo.finished == 1)


async def test_cancelling_a_stream_cancels_the_server(stub: Stub, echo: Echo) -> None:
    call = stub.counted(said("1000000:1000"))
    await call.read()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        while await call.read() is not grpc.aio.EOF:
            pass
    await until(lambda: echo.finished == 1)


async def test_a_stream_nobody_holds_any_more_ends(echo: Echo) -> None:
    """In process alone: over sockets `grpc.aio` goes on until the call is cancelled, so ours always are."""
    async with channel_to(echo.service(), "inproc") as channel:
        async for _ in Stub(channel).counted(said("1000000:1000")):
            break
        gc.collect()  # what nobody holds any more ends by its finaliser
        await until(lambda: echo.finished == 1)


async def test_a_stream_ends_with_its_deadline(stub: Stub, echo: Echo) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.counted(said("1000000:1000"), timeout=0.2):
            await asyncio.sleep(0.01)
    assert caught.value.code() is Code.DEADLINE_EXCEEDED
    await until(lambda: echo.finished == 1)


# Streams of requests


async def words(*texts: str) -> AsyncIterator[StringValue]:
    for text in texts:
        yield said(text)


async def test_requests_from_an_iterator(stub: Stub) -> None:
    assert (await stub.joined(words("a", "b"))).value == "a b"
    assert (await stub.joined(iter([said("c"), said("d")]))).value == "c d"


async def test_requests_written_one_by_one(stub: Stub) -> None:
    call = stub.joined()
    await call.write(said("a"))
    await call.write(said("b"))
    await call.done_writing()
    assert (await call).value == "a b"


async def test_a_server_may_answer_before_all_is_sent(stub: Stub) -> None:
    assert (await stub.joined(words("a", "stop", "b"))).value == "a"


async def test_a_server_may_refuse_before_all_is_sent(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.joined(words("a", "refuse", "b"))
    assert info_of(caught.value).reason == "EMPTY"


# Both


async def test_question_and_answer_take_turns(stub: Stub) -> None:
    call = stub.turned()
    for text in ("a", "b", "c"):
        await call.write(said(text))
        assert (await call.read()).value == text.upper()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_both_ways_from_an_iterator(stub: Stub) -> None:
    assert [one.value async for one in stub.turned(words("a", "b"))] == ["A", "B"]


async def test_writing_to_a_call_that_has_failed_fails(stub: Stub) -> None:
    call = stub.turned()
    await call.write(said("refuse"))
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
        await call.write(said("more"))


async def test_cancelling_both_ways_cancels_the_server(stub: Stub, echo: Echo) -> None:
    call = stub.turned()
    await call.write(said("a"))
    await call.read()
    call.cancel()
    await until(lambda: echo.finished == 1)


# What is left behind


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_abandoned_calls_leave_no_task(transport: str, echo: Echo) -> None:
    before = len(asyncio.all_tasks())
    async with channel_to(echo.service(), transport) as channel:
        stub = Stub(channel)
        for _ in range(20):
            call = stub.counted(said("1000000:100"))
            await call.read()
            if transport != "inproc":
                call.cancel()
            del call
            stub.unary(said("sleep:60")).cancel()
            stub.turned().cancel()
        await until(lambda: echo.begun == echo.finished and echo.begun >= 20)
    await until(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_drain_answers_what_is_under_way(transport: str, echo: Echo) -> None:
    async with draining(echo, transport, drain_s=5.0) as (stub, drain):
        calls = [asyncio.ensure_future(stub.unary(said("sleep:0.3"))) for _ in range(50)]
        await until(lambda: echo.begun == 50)
        await drain()
        assert [(await call).value for call in calls] == ["sleep:0.3"] * 50
        assert await code_of(stub.unary(said("hello"), timeout=2.0)) is Code.UNAVAILABLE


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_drain_does_not_wait_for_ever(transport: str, echo: Echo) -> None:
    async with draining(echo, transport, drain_s=0.1) as (stub, drain):
        call = asyncio.ensure_future(stub.unary(said("sleep:60")))
        await until(lambda: echo.begun == 1)
        await drain()
        assert await code_of(call) in (Code.UNAVAILABLE, Code.CANCELLED)
        await until(lambda: echo.cancelled == 1)


@pytest.mark.parametrize("target", ["inproc:nobody", "unix:/nowhere/at/all.sock", "127.0.0.1:1"])
async def test_nobody_serves(target: str) -> None:
    async with channels.open(target) as channel:
        assert await code_of(Stub(channel).unary(said("hello"), timeout=2.0)) is Code.UNAVAILABLE


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_who_waits_for_a_service_hears_soon_that_it_is_back(kind: str, tmp_path: Path) -> None:
    """gRPC by itself looks after 1, 2.6, 5.2 and 9.3 seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}" if kind == "tcp" else f"unix:{tmp_path / 'echo'}"
    where = Serving(address, lame_duck_s=0.0)
    async with channels.open(f"dns:///{address}" if kind == "tcp" else address, waits=True) as channel:
        async with serving(Echo().service(), where):
            assert await channels.reached(channel, 5.0)
        assert not await channels.reached(channel, 5.7)
        async with serving(Echo().service(), where):
            assert await channels.reached(channel, 2.5)
            assert (await Stub(channel).unary(said("again"))).value
