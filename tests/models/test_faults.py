"""Everything a provider can do wrong, on every wire, whole and streamed: the status that a caller sees."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status
from tollway.models.v1 import models_pb2 as pb
from tollway.models.v1 import models_pb2_grpc

from services.models.catalogue import Catalogue, Entry
from services.models.ranking import Ranking
from services.models.service import ModelsService
from services.models.wires.every import wires_over
from services.runtime.http import session
from services.runtime.secrets import Secrets
from services.runtime.server import Service
from tests.models.faulty import SSE, Fault, faulty
from tests.models.upstream import WIRES, asked, compressor, counter, golden, stream
from tests.support.callers import identity
from tests.support.serve import channel_to
from tests.support.stubs import Called

QUOTED = json.dumps({"error": {"message": "you said: hunter2", "code": "c1"}}).encode()
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
LATE = grpc.StatusCode.DEADLINE_EXCEEDED
JSON = (("content-type", "application/json"),)
FAULTS = {
    "slow headers": (Fault(says_head=False, hangs=True), LATE, "PROVIDER_SLOW"),
    "slow body": (Fault(headers=JSON, body=b"{", hangs=True), LATE, "PROVIDER_SLOW"),
    "cut before the head": (Fault(says_head=False), UNAVAILABLE, "PROVIDER_BROKE"),
    "half a chunk": (Fault(headers=JSON, body=b'{"choices": [', chunked=True), UNAVAILABLE, "PROVIDER_BROKE"),
    "wrong JSON": (Fault(body=b'data: {"choices": 7, "content": 7, "output": 7, "candidates": 7}\n\n'), UNAVAILABLE, "PROVIDER_BROKE"),
    "no JSON": (Fault(body=b"data: <html>busy</html>\n\n"), UNAVAILABLE, "PROVIDER_BROKE"),
    "nothing": (Fault(body=b""), UNAVAILABLE, "PROVIDER_BROKE"),
    "a redirect": (Fault(302, (("location", "http://elsewhere/"),)), UNAVAILABLE, "PROVIDER_BROKE"),
    "400": (Fault(400, JSON, QUOTED), grpc.StatusCode.INVALID_ARGUMENT, "PROVIDER_REFUSED"),
    "401": (Fault(401, JSON, QUOTED), grpc.StatusCode.FAILED_PRECONDITION, "PROVIDER_DENIED"),
    "403": (Fault(403, JSON, QUOTED), grpc.StatusCode.FAILED_PRECONDITION, "PROVIDER_DENIED"),
    "404": (Fault(404, JSON, QUOTED), grpc.StatusCode.INVALID_ARGUMENT, "PROVIDER_REFUSED"),
    "408": (Fault(408, JSON, QUOTED), UNAVAILABLE, "PROVIDER_BROKE"),
    "429": (Fault(429, JSON, QUOTED), EXHAUSTED, "PROVIDER_BUSY"),
    "429 that says when": (Fault(429, (*JSON, ("retry-after", "7")), QUOTED), EXHAUSTED, "PROVIDER_BUSY"),
    "500": (Fault(500, JSON, QUOTED), UNAVAILABLE, "PROVIDER_BROKE"),
    "503": (Fault(503, body=b"<html>"), UNAVAILABLE, "PROVIDER_BROKE"),
    "529": (Fault(529, JSON, QUOTED), EXHAUSTED, "PROVIDER_BUSY"),
}  # fmt: skip


@asynccontextmanager
async def models(wire: str, url: str, first_byte_s: float = 5.0) -> AsyncIterator[Called]:
    there = Entry("provider-model", wire=wire, base_url=url, region="eu-central-1", project="house", key="k")
    one = replace(there, first_byte_s=first_byte_s)
    entries = {"m": one}
    async with session() as http:
        ranking = Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))
        service = ModelsService(ranking, compressor())
        register = partial(models_pb2_grpc.add_ModelsServiceServicer_to_server, service)
        served = Service("tollway.models.v1.ModelsService", "models.tollway", register, identity())
        async with channel_to(served, "inproc") as channel:
            yield Called(models_pb2_grpc.ModelsServiceStub(channel))


async def both(called: Called, wire: str) -> list[tuple[grpc.aio.AioRpcError, int]]:
    """How a whole answer fails and how a stream does, and after how many pieces."""
    with pytest.raises(grpc.aio.AioRpcError) as whole:
        await called.Generate(pb.GenerateRequest(chat=asked(wire)))
    pieces = 0
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in called.StreamGenerate(pb.StreamGenerateRequest(chat=asked(wire))):
            pieces += 1
    return [(whole.value, 0), (streamed.value, pieces)]


def details(error: grpc.aio.AioRpcError) -> tuple[str, float | None]:
    """The reason, and in how many seconds to ask again."""
    reason, after = "", None
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    for one in status.details:
        info, retry = ErrorInfo(), RetryInfo()
        if one.Unpack(info):
            reason = info.reason
        if one.Unpack(retry):
            after = retry.retry_delay.ToNanoseconds() / 1e9
    return reason, after


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_has_its_status(wire: str, name: str) -> None:
    fault, code, reason = FAULTS[name]
    async with faulty(fault) as url, models(wire, url, 0.3 if reason == "PROVIDER_SLOW" else 5.0) as called:
        for error, pieces in await both(called, wire):
            seen, after = details(error)
            assert (error.code(), seen, pieces) == (code, reason, 0)
            assert "hunter2" not in str(error)
            if name == "429 that says when":
                assert after is not None and 6 < after <= 7


@pytest.mark.parametrize("wire", WIRES)
async def test_nobody_at_the_address(wire: str) -> None:
    async with models(wire, "http://127.0.0.1:1/v1") as called:
        for error, _ in await both(called, wire):
            assert (error.code(), details(error)[0]) == (UNAVAILABLE, "PROVIDER_AWAY")


@pytest.mark.parametrize("wire", WIRES)
async def test_tls_that_fails(wire: str) -> None:
    async with faulty(Fault(body=b"plain", hasty=True)) as url, models(wire, url.replace("http:", "https:")) as called:
        for error, _ in await both(called, wire):
            assert (error.code(), details(error)[0]) == (UNAVAILABLE, "PROVIDER_AWAY")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_cut_after_any_event(wire: str) -> None:
    """What was said before the cut has been passed on, and the end is never a clean one."""
    whole = stream(wire)
    kind = (("content-type", SSE),)
    cuts = [n for n in range(1, len(whole)) if whole[:n].endswith(b"\n\n")]
    if wire == "bedrock":
        cuts = [len(whole) * n // 10 for n in range(1, 8)]
    assert len(cuts) > 1
    seen = []
    async with session() as http:
        for at in cuts[: -2 if wire == "openai" else -1]:
            async with faulty(Fault(headers=kind, body=whole[:at])) as url:
                entry = Entry(
                    "provider-model", wire=wire, base_url=url, region="eu-central-1", project="house", key="k"
                )
                ranking = Ranking(Catalogue({"m": entry}), wires_over(http, counter()), Secrets(http))
                service = ModelsService(ranking, compressor())
                register = partial(models_pb2_grpc.add_ModelsServiceServicer_to_server, service)
                served = Service("tollway.models.v1.ModelsService", "models.tollway", register, identity())
                async with channel_to(served, "inproc") as channel:
                    called, pieces = Called(models_pb2_grpc.ModelsServiceStub(channel)), 0
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        async for _ in called.StreamGenerate(pb.StreamGenerateRequest(chat=asked(wire))):
                            pieces += 1
                    assert (caught.value.code(), details(caught.value)[0]) == (UNAVAILABLE, "PROVIDER_BROKE")
                    seen.append(pieces)
    assert seen == sorted(seen) and seen[-1] > 0


async def test_gemini_says_when_in_its_body() -> None:
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}
    body = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [delay]}}).encode()
    async with faulty(Fault(429, JSON, body)) as url, models("gemini", url) as called:
        for error, _ in await both(called, "gemini"):
            after = details(error)[1]
            assert error.code() is EXHAUSTED and after is not None and 12 < after <= 13


async def test_gemini_calls_a_bad_key_a_bad_request() -> None:
    body = json.dumps({"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}).encode()
    async with faulty(Fault(400, JSON, body)) as url, models("gemini", url) as called:
        for error, _ in await both(called, "gemini"):
            assert (error.code(), details(error)[0]) == (grpc.StatusCode.FAILED_PRECONDITION, "PROVIDER_DENIED")


async def test_a_good_answer_after_all_that() -> None:
    body = json.dumps(golden("openai", "answer")).encode()
    async with faulty(Fault(headers=JSON, body=body)) as url, models("openai", url) as called:
        made = await called.Generate(pb.GenerateRequest(chat=asked("openai")))
        assert made.completion.usage.output_tokens == 30
