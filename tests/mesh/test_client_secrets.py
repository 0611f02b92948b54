"""Sessions that begin as their maker wants, opened by a browser that has no key; and sessions that only write down what they hear."""

import base64
import json
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from tests.mesh.client import sent
from tests.mesh.running import Mesh
from tests.mesh.test_realtime import MAIL, SILENCE, SPEECH, charged, deltas, heard, raw
from tests.support.waiting import eventually

PATH = "/v1/realtime/client_secrets"
HEARD = "The toll is nine crowns."
WISHED: dict[str, Any] = {
    "type": "realtime",
    "model": "talker",
    "instructions": f"You serve {MAIL}.",
    "output_modalities": ["text"],
    "max_output_tokens": 77,
    "audio": {"input": {"transcription": {"model": "scribe", "prompt": f"{MAIL} speaks"}}},
}


@pytest.fixture
async def keyed(mesh: Mesh, request: pytest.FixtureRequest) -> Any:
    """A client with a key of its own account."""
    key = mesh.new_key(f"{abs(hash(request.node.name))}/app")
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=key, max_retries=0) as client:
        yield client


async def told(socket: aiohttp.ClientWebSocketResponse, kind: str) -> list[dict[str, Any]]:
    """Every event up to the first of that kind."""
    events = list[dict[str, Any]]()
    while not events or events[-1]["type"] != kind:
        events.append(await socket.receive_json(timeout=20))
        assert kind == "error" or events[-1]["type"] != "error", events[-1]
    return events


def browser(mesh: Mesh, secret: str, query: str = "") -> Any:
    return raw(mesh, query, headers={}, protocols=("realtime", f"openai-insecure-api-key.{secret}"))


async def utter(socket: aiohttp.ClientWebSocketResponse) -> None:
    for sound in (SPEECH, SILENCE):
        await socket.send_json({"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()})


async def test_a_browser_opens_the_session_that_was_made_for_it(mesh: Mesh, keyed: AsyncOpenAI) -> None:
    wished: Any = WISHED
    made = await keyed.realtime.client_secrets.create(session=wished, expires_after={"seconds": 60})
    assert made.value.startswith("ek_") and made.session.type == "realtime"
    assert made.session.instructions == WISHED["instructions"] and made.session.object == "realtime.session"
    async with browser(mesh, made.value) as socket:
        assert socket.protocol == "realtime"
        begun = await socket.receive_json(timeout=20)
        assert begun["type"] == "session.created", "as the provider would tell it"
        session = begun["session"]
        assert {name: session[name] for name in ("instructions", "output_modalities", "max_output_tokens")} == {
            name: WISHED[name] for name in ("instructions", "output_modalities", "max_output_tokens")
        }
        assert session["audio"]["input"]["turn_detection"]["create_response"] is True
        assert session["audio"]["input"]["transcription"] == {"model": "scribe", "prompt": f"{MAIL} speaks"}
        await utter(socket)
        events = await told(socket, "response.done")
        assert f"You serve {MAIL}. You said: {HEARD}" == deltas(events)
    update = heard(mesh, "session.update")[-1]["session"]
    assert "example.com" not in json.dumps(update) and update["max_output_tokens"] == 77
    assert update["audio"]["input"]["turn_detection"]["create_response"] is False
    async with browser(mesh, made.value, "model=talker") as socket:  # as often as one likes
        assert (await socket.receive_json(timeout=20))["session"]["max_output_tokens"] == 77


async def test_a_secret_opens_its_models_sessions_and_nothing_else(mesh: Mesh, keyed: AsyncOpenAI) -> None:
    wished: Any = {"type": "realtime", "model": "talker"}
    secret = (await keyed.realtime.client_secrets.create(session=wished)).value
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with browser(mesh, secret, "model=brokentalker"):
            pass
    assert refused.value.status == 403
    bare = AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=secret, max_retries=0)
    async with bare as client:
        for asked in (
            client.chat.completions.create(model="talker", messages=[{"role": "user", "content": "hi"}]),
            client.embeddings.create(model="static", input="hi"),
            client.files.list(),
            client.realtime.client_secrets.create(session=wished),
        ):
            with pytest.raises(openai.PermissionDeniedError) as kept_out:
                await asked
            assert kept_out.value.code == "scope_missing"


async def test_a_secret_ends_with_its_key(mesh: Mesh) -> None:
    made = await sent(mesh, path=PATH, body={"session": {"model": "talker"}}, key=mesh.new_key("lender/app"))
    async with browser(mesh, secret := made.json["value"]) as socket:
        assert (await socket.receive_json(timeout=20))["type"] == "session.created"
    listed = mesh.tollway("keys", "list", "lender").stdout.splitlines()
    key_id = next(line.split()[0] for line in listed if "lender" in line)
    assert mesh.tollway("keys", "revoke", key_id).returncode == 0

    async def kept_out() -> bool:
        try:
            async with browser(mesh, secret):
                return False
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status == 401

    await eventually(kept_out)  # within a second


async def test_what_is_heard_is_written_down_and_paid_for(mesh: Mesh) -> None:
    key = mesh.new_key("written/app")
    async with (
        AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=key, max_retries=0) as client,
        client.realtime.connect(model="scribe", extra_query={"intent": "transcription"}) as session,
    ):
        begun: Any = await session.recv()
        assert (begun.type, begun.session.type) == ("session.created", "transcription")
        wished: Any = {"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}
        await session.session.update(session=wished)
        updated: Any = await session.recv()
        assert updated.type == "session.updated"
        writing = updated.session.audio.input.transcription
        assert (writing.model, writing.language) == ("scribe", "en")
        for sound in (SPEECH, SILENCE):
            await session.input_audio_buffer.append(audio=base64.b64encode(sound).decode())
        said = list[Any]()
        while not said or not said[-1].type.endswith("transcription.completed"):
            said.append(await session.recv())
        assert "".join(one.delta for one in said if one.type.endswith(".delta")) == said[-1].transcript == HEARD
        await session.response.create(event_id="mine")
        fault: Any = await session.recv()
        assert (fault.type, fault.error.param, fault.error.event_id) == ("error", "type", "mine")
    assert [one["session"]["audio"]["input"]["transcription"]["model"] for one in mesh.provider.asked("ears")
            if one["type"] == "session.update"][-2:] == ["scribe", "scribe"]  # fmt: skip
    await charged(mesh, "written", lambda cost: cost == pytest.approx(300e-6))  # 3 seconds of 100 tokens


async def test_a_browser_has_what_it_says_written_down(mesh: Mesh, keyed: AsyncOpenAI) -> None:
    wished: Any = {
        "type": "transcription",
        "audio": {"input": {"transcription": {"model": "scribe"}, "turn_detection": None}},
    }
    made = await keyed.realtime.client_secrets.create(session=wished)
    assert (made.session.type, made.session.object) == ("transcription", "realtime.transcription_session")
    async with browser(mesh, made.value, "intent=transcription") as socket:
        begun = await socket.receive_json(timeout=20)
        assert begun["type"] == "session.created" and begun["session"]["audio"]["input"]["turn_detection"] is None
        assert begun["session"]["audio"]["input"]["transcription"] == {"model": "scribe"}
        await socket.send_json({"type": "input_audio_buffer.append", "audio": base64.b64encode(SPEECH).decode()})
        await socket.send_json({"type": "input_audio_buffer.commit"})
        done = await told(socket, "conversation.item.input_audio_transcription.completed")
        assert done[-1]["transcript"] == HEARD


async def test_a_session_that_no_budget_bears_writes_nothing_down(mesh: Mesh) -> None:
    key = mesh.new_key("mute/app")
    assert mesh.tollway("budgets", "set", "mute", "0.0001usd", "--per=total").returncode == 0
    async with raw(mesh, "model=scribe&intent=transcription", key=key) as socket:
        await told(socket, "session.created")
        await utter(socket)
        assert (await told(socket, "error"))[-1]["error"]["code"] == "insufficient_quota"
        await socket.receive()
        assert socket.close_code == 1013
    assert not [one for one in mesh.provider.asked("ears")[-2:] if one["type"] == "input_audio_buffer.append"]


async def test_what_the_provider_refuses_to_begin_with_is_told_and_ends_the_session(
    mesh: Mesh, keyed: AsyncOpenAI
) -> None:
    wished: Any = {"type": "realtime", "model": "talker", "colour": "red"}
    made = await keyed.realtime.client_secrets.create(session=wished)
    async with browser(mesh, made.value) as socket:
        faults = [(await socket.receive_json(timeout=20))["error"]["code"] for _ in range(2)]
        assert faults == ["unknown_parameter ['colour']", "session_out_of_hand"]
        await socket.receive()
        assert socket.close_code == 1011


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "session.model"),
        ({"session": {"type": "realtime"}}, "session.model"),
        ({"session": {"type": "transcription", "model": "scribe"}}, "session.audio.input.transcription.model"),
        ({"session": {"type": "song", "model": "talker"}}, "session.type"),
        ({"session": {"model": "talker"}, "expires_after": {"anchor": "created_at", "seconds": 9}}, "expires_after.seconds"),
        ({"session": {"model": "talker"}, "expires_after": {"anchor": "now"}}, "expires_after.anchor"),
        ({"session": {"model": "talker", "instructions": "x" * 300_000}}, "session"),
        ({"sessions": {}}, "sessions"),
    ],
)  # fmt: skip
async def test_a_wrong_wish_is_told_by_its_field(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    answer = await sent(mesh, path=PATH, body=body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_the_same_request_has_the_same_secret(mesh: Mesh) -> None:
    body = {"session": {"model": "talker"}}
    made = [await sent(mesh, path=PATH, body=body, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert made[0].json["value"] == made[1].json["value"] != (await sent(mesh, path=PATH, body=body)).json["value"]
    other = await sent(mesh, path=PATH, body={"session": {"model": "reader"}}, headers={"Idempotency-Key": "one"})
    assert (other.status, other.json["error"]["code"]) == (409, "conflict")


async def test_a_key_lends_no_model_that_it_may_not_use(mesh: Mesh) -> None:
    key = mesh.new_key("narrow/app", "--model=echo")
    answer = await sent(mesh, path=PATH, body={"session": {"model": "talker"}}, key=key)
    assert (answer.status, answer.json["error"]["code"]) == (403, "model_not_allowed")
