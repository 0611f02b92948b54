"""Sessions of speech and text as OpenAI's Realtime API holds them: how they are opened, what is billed, and how they end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from services.models import faults
from services.models.catalogue import Catalogue, Deployment, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.adapter import Told
from services.models.wires.every import wires_over
from services.runtime.errors import Failure
from services.runtime.http import session
from services.runtime.secrets import Secrets
from tests.models.upstream import SECRET, counter

CREATED = {"type": "session.created", "session": {}}
Script = Callable[[web.WebSocketResponse], Awaitable[None]]


class Far:
    """A provider whose sessions go as they are told to."""

    def __init__(self) -> None:
        self.script: Script = self.greets
        self.requests: list[web.Request] = []
        self.status = 0
        self.url = ""

    async def greets(self, socket: web.WebSocketResponse) -> None:
        await socket.send_json(CREATED)
        async for frame in socket:
            assert frame.type is WSMsgType.TEXT
            await socket.send_str(frame.data)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.status and "second" not in request.path:
            return web.json_response(
                {"error": {"message": "hunter2"}}, status=self.status, headers={"retry-after": "9"}
            )
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.script(socket)
        return socket


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    made, application = Far(), web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def ranking(far: Far) -> AsyncIterator[Ranking]:
    places = (Deployment(base_url=f"{far.url}/first"), Deployment(base_url=f"{far.url}/second"))
    entries = {
        "talker": Entry("gpt-realtime", base_url=f"{far.url}/v1", key=SECRET, realtime=True, first_byte_s=0.3),
        "azure": Entry("own-name", provider="azure", base_url=far.url, api_version="2024-10-21", key=SECRET, realtime=True),
        "two": Entry("gpt-realtime", deployments=places, realtime=True),
        "chat": Entry("chat", base_url=far.url),
        "scribe": Entry("gpt-4o-transcribe", base_url=f"{far.url}/v1", second_tokens=10),
        "claude": Entry("claude", provider="anthropic", base_url=far.url, realtime=True),
    }  # fmt: skip
    async with session() as http:
        yield Ranking(Catalogue(entries), wires_over(http, counter()), Secrets(http))


async def heard(ranking: Ranking, name: str = "talker", *said: str, most: int = 100) -> list[Told]:
    """What a session says, to its end or to so many events."""
    told = list[Told]()
    async with ranking.converse(name, Asker()) as (talk, _):
        for one in said:
            await talk.send(one)
        async for event in talk.told():
            told.append(event)
            if len(told) == most:
                break
    return told


def saying(*events: object, then: Callable[[web.WebSocketResponse], Awaitable[object]] | None = None) -> Script:
    async def script(socket: web.WebSocketResponse) -> None:
        for one in events:
            await socket.send_str(one if isinstance(one, str) else json.dumps(one))
        await (then or (lambda one: one.close()))(socket)

    return script


async def test_it_is_asked_where_its_provider_has_it(ranking: Ranking, far: Far) -> None:
    event = '{"type": "response.create", "event_id": "a"}'
    assert [one.event for one in await heard(ranking, "talker", event, most=2)] == [json.dumps(CREATED), event]
    await heard(ranking, "azure", most=1)
    ours, azures = far.requests
    assert (ours.path_qs, ours.headers["authorization"]) == ("/v1/realtime?model=gpt-realtime", f"Bearer {SECRET}")
    assert (azures.path_qs, azures.headers["api-key"]) == ("/openai/v1/realtime?model=own-name", SECRET)


async def test_one_that_transcribes_has_its_model_from_whoever_holds_it(ranking: Ranking, far: Far) -> None:
    async with ranking.converse("scribe", Asker(), transcribes=True):
        pass
    assert far.requests[-1].path_qs == "/v1/realtime?intent=transcription"
    for name, transcribes in (("talker", True), ("scribe", False), ("claude", True)):
        with pytest.raises(faults.Unsupported):
            async with ranking.converse(name, Asker(), transcribes=transcribes):
                pass


async def test_a_deployment_that_opens_none_leaves_it_to_the_next(ranking: Ranking, far: Far) -> None:
    far.status = 500
    for _ in range(3):
        assert len(await heard(ranking, "two", most=1)) == 1
    assert far.requests[-1].path.startswith("/second/")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, faults.ProviderDenied), (429, faults.ProviderBusy), (404, faults.ProviderRefused), (500, faults.ProviderBroke)],
)  # fmt: skip
async def test_a_refusal_is_told_without_its_words(
    ranking: Ranking, far: Far, status: int, kind: type[Failure]
) -> None:
    far.status = status
    with pytest.raises(kind) as refused:
        await heard(ranking)
    assert "hunter2" not in str(refused.value)
    assert status != 429 or refused.value.retry_after_s == 9


async def test_nobody_there_and_nobody_able(ranking: Ranking) -> None:
    entries = {"gone": Entry("gone", base_url="http://127.0.0.1:9/v1", realtime=True)}
    with pytest.raises(faults.ProviderAway):
        await heard(Ranking(Catalogue(entries), ranking.wires, ranking.secrets), "gone")
    for name in ("chat", "claude"):
        with pytest.raises(faults.Unsupported):
            await heard(ranking, name)


async def test_one_that_does_not_begin_is_not_waited_for(ranking: Ranking, far: Far) -> None:
    async def silent(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(5)

    far.script = silent
    with pytest.raises(faults.ProviderSlow):
        await heard(ranking)


async def test_one_that_has_begun_may_be_silent(ranking: Ranking, far: Far) -> None:
    async def pauses(socket: web.WebSocketResponse) -> None:
        await socket.send_json(CREATED)
        await asyncio.sleep(0.6)
        await socket.close()

    far.script = pauses
    assert len(await heard(ranking)) == 1


USAGE = {
    "input_tokens": 100, "output_tokens": 50,
    "input_token_details": {"text_tokens": 30, "audio_tokens": 60, "image_tokens": 10, "cached_tokens": 40},
    "output_token_details": {"text_tokens": 20, "audio_tokens": 30},
}  # fmt: skip
DONE = {"type": "response.done", "response": {"id": "r", "usage": USAGE}}
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


async def test_what_is_billed_stands_beside_what_ends_it(ranking: Ranking, far: Far) -> None:
    tokens = {"type": "tokens", "input_tokens": 14, "output_tokens": 9, "input_token_details": {"audio_tokens": 13}}
    far.script = saying(
        CREATED, DONE, {"type": TRANSCRIBED, "usage": tokens}, {"type": TRANSCRIBED, "usage": {"seconds": 2.5}},
        {"type": "response.done", "response": {"id": "r", "usage": None}},
    )  # fmt: skip
    created, done, counted, timed, free = await heard(ranking)
    assert created.usage is free.usage is counted.usage is None
    assert done.usage is not None
    kinds = done.usage.kinds
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.cached_input_tokens) == (100, 50, 40)
    assert (kinds.audio_input_tokens, kinds.image_input_tokens, kinds.audio_output_tokens) == (60, 10, 30)
    assert counted.transcript_usage is not None and counted.transcript_usage.kinds.audio_input_tokens == 13
    assert (timed.transcript_usage, timed.transcript_seconds) == (None, 2.5)


MISSHAPEN: tuple[object, ...] = (
    "no JSON",
    [],
    {"no": "type"},
    {"type": "response.done", "response": 7},
    {"type": TRANSCRIBED, "usage": {"seconds": -1}},
    {"type": TRANSCRIBED, "usage": {"seconds": 1e9}},
)


@pytest.mark.parametrize("said", MISSHAPEN, ids=str)
async def test_what_is_no_event_is_the_providers_fault(ranking: Ranking, far: Far, said: object) -> None:
    far.script = saying(CREATED, said)
    with pytest.raises(faults.ProviderBroke):
        await heard(ranking)


async def test_how_it_ends_is_told_from_a_break(ranking: Ranking, far: Far) -> None:
    async def cut(socket: web.WebSocketResponse) -> None:
        request = far.requests[-1]
        assert request.transport is not None
        request.transport.abort()

    far.script = saying(CREATED, then=lambda one: one.close(code=1001))
    assert len(await heard(ranking)) == 1
    for how in (cut, lambda one: one.close(code=1011), lambda one: one.send_bytes(b"sound")):
        far.script = saying(CREATED, then=how)
        with pytest.raises(faults.ProviderBroke):
            await heard(ranking)
