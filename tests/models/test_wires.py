"""Every adapter, against the same cases: golden requests out, golden answers in, faults mapped."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from google.protobuf import json_format
from tollway.chat.v1 import chat_pb2 as chat

from services.encoder.app import tokenizer
from services.models import faults
from services.models.catalogue import Entry
from services.models.counting import Counter
from services.models.wires.adapter import Adapter, Target
from services.models.wires.anthropic import Anthropic
from services.models.wires.http import session
from services.models.wires.openai import OpenAI
from services.runtime.errors import Failure

GOLDEN = Path(__file__).parent / "golden"
WIRES = ("openai", "anthropic")
PATHS = {"openai": "/chat/completions", "anthropic": "/messages"}


@cache
def counter() -> Counter:
    return Counter(tokenizer())


class Upstream:
    """Answers with what it is given, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answer: Any = {}
        self.status, self.headers = 200, dict[str, str]()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append({"path": request.path, "headers": dict(request.headers), "body": await request.json()})
        if isinstance(self.answer, bytes):
            response = web.StreamResponse(status=self.status, headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for n in range(0, len(self.answer), 37):  # cut anywhere
                await response.write(self.answer[n : n + 37])
            return response
        return web.json_response(self.answer, status=self.status, headers=self.headers)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made, application = Upstream(), web.Application()
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    await runner.cleanup()


@pytest.fixture(params=WIRES)
async def wire(request: pytest.FixtureRequest, upstream: Upstream) -> AsyncIterator[tuple[str, Adapter, Target]]:
    async with session() as http:
        adapter: Adapter = OpenAI(http, counter()) if request.param == "openai" else Anthropic(http)
        yield request.param, adapter, Target("m", Entry("provider-model", base_url=upstream.url, key="secret-key"))


def golden(wire: str, name: str) -> Any:
    return json.loads((GOLDEN / f"{wire}.json").read_text())[name]


def request() -> chat.ChatRequest:
    made = chat.ChatRequest()
    json_format.ParseDict(json.loads((GOLDEN / "request.json").read_text()), made)
    return made


async def streamed(adapter: Adapter, target: Target) -> list[chat.ChatChunk]:
    return [chunk async for chunk in adapter.stream(target, request())]


async def test_a_request_is_written_as_the_wire_wants_it(wire: tuple[str, Adapter, Target], upstream: Upstream) -> None:
    name, adapter, target = wire
    upstream.answer = golden(name, "answer")
    await adapter.complete(target, request())
    assert upstream.got[0]["path"] == f"/v1{PATHS[name]}" and upstream.got[0]["body"] == golden(name, "request")
    headers = {key.lower(): value for key, value in upstream.got[0]["headers"].items()}
    assert "secret-key" in (headers.get("authorization", ""), headers.get("x-api-key", ""))[name == "anthropic"]


async def test_an_answer_is_read_whole(wire: tuple[str, Adapter, Target], upstream: Upstream) -> None:
    name, adapter, target = wire
    upstream.answer = golden(name, "answer")
    made = await adapter.complete(target, request())
    choice = made.choices[0]
    assert made.model == "m" and choice.finish_reason == chat.FINISH_REASON_TOOL_CALLS
    assert "".join(part.text for part in choice.message.parts) == "Let me look."
    assert [(call.id, call.name, json.loads(call.arguments)) for call in choice.message.tool_calls] == [
        ("call_9", "look", {"where": "Rome"})
    ]
    used = made.usage
    assert (used.input_tokens, used.output_tokens, used.cached_input_tokens) == (120, 30, 100) and not used.estimated


async def test_a_stream_says_the_same_cut_anywhere(wire: tuple[str, Adapter, Target], upstream: Upstream) -> None:
    name, adapter, target = wire
    upstream.answer = golden(name, "stream").encode()
    chunks = await streamed(adapter, target)
    deltas = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content for delta in deltas) == "Let me look."
    calls = [call for delta in deltas for call in delta.tool_calls]
    assert calls[0].name == "look" and json.loads("".join(call.arguments for call in calls)) == {"where": "Rome"}
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == [chat.FINISH_REASON_TOOL_CALLS]
    used = next(chunk.usage for chunk in chunks if chunk.HasField("usage"))
    assert (used.input_tokens, used.output_tokens, used.cached_input_tokens) == (120, 30, 100)


async def test_a_cut_stream_is_a_fault_and_no_end(wire: tuple[str, Adapter, Target], upstream: Upstream) -> None:
    name, adapter, target = wire
    whole = golden(name, "stream").encode()
    for at in (len(whole) // 3, len(whole) // 2):
        upstream.answer = whole[:at]
        with pytest.raises(faults.ProviderBroke):
            await streamed(adapter, target)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, faults.ProviderRefused), (401, faults.ProviderDenied), (403, faults.ProviderDenied),
        (404, faults.ProviderRefused), (408, faults.ProviderBroke), (413, faults.ProviderRefused),
        (429, faults.ProviderBusy), (500, faults.ProviderBroke), (503, faults.ProviderBroke), (529, faults.ProviderBusy),
        (302, faults.ProviderBroke),
    ],
)  # fmt: skip
async def test_a_status_is_a_fault_of_its_kind_without_the_providers_words(
    wire: tuple[str, Adapter, Target], upstream: Upstream, status: int, kind: type[Failure]
) -> None:
    _, adapter, target = wire
    upstream.status, upstream.answer = status, {"error": {"message": "you said: hunter2", "code": "c1"}}
    for call in (adapter.complete(target, request()), streamed(adapter, target)):
        with pytest.raises(kind) as caught:
            await call
        assert "hunter2" not in str(caught.value) + str(caught.value.facts)


async def test_a_busy_provider_says_when(wire: tuple[str, Adapter, Target], upstream: Upstream) -> None:
    _, adapter, target = wire
    upstream.status = 429
    for headers, seconds in (({"retry-after": "7"}, 7.0), ({"retry-after-ms": "250"}, 0.25), ({}, None)):
        upstream.headers = headers
        with pytest.raises(faults.ProviderBusy) as caught:
            await adapter.complete(target, request())
        assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "answer", [[], "text", {"choices": "none"}, {"content": 7, "choices": [{"no": "message"}]}, {}]
)
async def test_an_answer_of_another_shape_is_the_providers_fault(
    wire: tuple[str, Adapter, Target], upstream: Upstream, answer: Any
) -> None:
    _, adapter, target = wire
    upstream.answer = answer
    with pytest.raises(faults.ProviderBroke):
        await adapter.complete(target, request())


async def test_nobody_at_the_address(wire: tuple[str, Adapter, Target]) -> None:
    _, adapter, _ = wire
    with pytest.raises(faults.ProviderAway):
        await adapter.complete(Target("m", Entry("x", base_url="http://127.0.0.1:1/v1")), request())


async def test_a_provider_that_stays_silent(wire: tuple[str, Adapter, Target]) -> None:
    _, adapter, _ = wire

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", silent)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    with pytest.raises(faults.ProviderSlow):
        await adapter.complete(Target("m", Entry("x", base_url=url, first_byte_s=0.2)), request())
    await runner.cleanup()
