"""Sessions that begin as their caller wants, and sessions that only write down what they hear, over every transport."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc import StatusCode as Code
from tollway.gateway.v1 import gateway_pb2 as pb

from tests.orchestrator.peers import Mesh, Talk
from tests.orchestrator.test_conversing import CREATE, SESSION, VAD, Session, ended, holds
from tests.orchestrator.test_service import gateway, mesh  # noqa: F401 - fixtures
from tests.support.refusals import refused
from tests.support.stubs import Called
from tests.support.waiting import until

EARS = {"type": "transcription", "audio": {"input": {"transcription": None, "turn_detection": {"type": "server_vad"}}}}


@asynccontextmanager
async def begun(gateway: Called, mesh: Mesh, created: dict[str, Any], **opening: Any) -> AsyncIterator[Session]:  # noqa: F811
    """One whose provider has said how it would be held."""
    mesh.talk = Talk()
    mesh.talk.says("session.created", event_id="first", session=created)
    call = gateway.Converse()
    await call.write(pb.ConverseRequest(open=pb.OpenConversation(**opening)))
    assert (await call.read()).road.model == opening["model"]
    yield Session(call, mesh.talk)
    call.cancel()


async def test_a_session_begins_once_it_is_as_its_caller_wants_it(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    """Of what the caller does not say, what the provider would do stands, but for what the mesh does in its place."""
    wished = {"instructions": "nine crowns", "max_output_tokens": 900, "output_modalities": ["text"],
              "audio": {"input": {"turn_detection": {"threshold": 0.9}}}}  # fmt: skip
    async with begun(gateway, mesh, SESSION, model="talker", session=json.dumps(wished)) as session:
        sent = await session.sent("session.update")
        assert sent["session"] == {
            "type": "realtime", "instructions": "nine crowns", "max_output_tokens": 500, "output_modalities": ["text"],
            "audio": {"input": {"turn_detection": {**VAD, "threshold": 0.9, "create_response": False}}},
        }  # fmt: skip
        assert mesh.asked.count("guard.InspectPrompt") == 1
        session.talk.says("session.updated", event_id="second", session={**sent["session"], "model": "t"})
        told = await session.told()
        assert (told["type"], told["event_id"]) == ("session.created", "first")
        turns = told["session"]["audio"]["input"]["turn_detection"]
        assert turns == {**VAD, "threshold": 0.9, "create_response": True}
        assert (told["session"]["max_output_tokens"], told["session"]["model"]) == (900, "talker")
        await session.say(CREATE)
        await session.sent("response.create")
        assert holds(mesh)[0].kinds.audio_output_tokens == 0, "it may not speak"
        session.talk.says("session.updated", session=sent["session"])  # of another event: told as it is
        assert (await session.told())["type"] == "session.updated"


@pytest.mark.parametrize("turns", [None, {"type": "server_vad", "create_response": False}])
async def test_who_wants_no_responses_at_once_gets_none(gateway: Called, mesh: Mesh, turns: Any) -> None:  # noqa: F811
    wished = {"type": "realtime", "audio": {"input": {"turn_detection": turns}}}
    async with begun(gateway, mesh, SESSION, model="talker", session=json.dumps(wished)) as session:
        sent = (await session.sent("session.update"))["session"]
        session.talk.says("session.updated", session=sent)
        assert (await session.told())["session"]["audio"]["input"]["turn_detection"] == (turns and {**VAD, **turns})
        session.talk.says("input_audio_buffer.committed", item_id="i1")
        assert (await session.told())["type"] == "input_audio_buffer.committed"
        await session.say({"type": "input_audio_buffer.clear"})
        await session.sent("input_audio_buffer.clear")
        assert not session.all("response.create")


async def test_what_the_provider_refuses_to_begin_with_is_told(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with begun(gateway, mesh, SESSION, model="talker", session='{"colour": "red"}') as session:
        ours = (await session.sent("session.update"))["event_id"]
        session.talk.says("error", error={"code": "unknown_parameter", "event_id": ours})
        assert (await session.told())["error"] == {"code": "unknown_parameter", "event_id": None}
        assert await refused(session.call.read()) == (Code.UNAVAILABLE, "SESSION_OUT_OF_HAND")


@pytest.mark.parametrize(
    ("wished", "reason"),
    [
        ('{"model": "other"}', "EVENT_UNFIT"),
        ('{"type": "transcription"}', "EVENT_UNFIT"),
        ('{"tools": [{"type": "mcp"}]}', "EVENT_UNFIT"),
        ('{"audio": {"input": {"transcription": {"model": "m"}}}}', "EVENT_UNFIT"),
        ("blocked", "PROMPT_BLOCKED"),
    ],
)
async def test_what_cannot_be_wished_for_ends_the_session(
    gateway: Called,  # noqa: F811
    mesh: Mesh,  # noqa: F811
    wished: str,
    reason: str,
) -> None:
    mesh.blocked = wished == "blocked"
    said = '{"instructions": "nine crowns"}' if mesh.blocked else wished
    async with begun(gateway, mesh, SESSION, model="talker", session=said) as session:
        assert (await refused(session.call.read()))[1] == reason
        assert not session.talk.sent


@pytest.mark.parametrize("wished", ["[]", "nine", "7"])
async def test_a_wish_is_an_object(gateway: Called, mesh: Mesh, wished: str) -> None:  # noqa: F811
    call = gateway.Converse()
    await call.write(pb.ConverseRequest(open=pb.OpenConversation(model="talker", session=wished)))
    assert await refused(call.read()) == (Code.INVALID_ARGUMENT, "EVENT_UNFIT")
    assert "models.Converse" not in mesh.asked


async def test_what_only_transcribes_is_opened_with_who_writes_and_answers_nothing(
    gateway: Called,  # noqa: F811
    mesh: Mesh,  # noqa: F811
) -> None:
    async with begun(gateway, mesh, EARS, model="scribe", transcribes=True) as session:
        assert (session.talk.opened.model, session.talk.opened.transcribes) == ("scribe", True)
        assert (await session.told())["session"] == EARS
        sent = (await session.sent("session.update"))["session"]
        assert sent == {"type": "transcription", "audio": {"input": {"transcription": {"model": "w"}}}}
        session.talk.says("session.updated", session=EARS)
        sound = base64.b64encode(b"\1" * 48_000).decode()
        await session.say({"type": "input_audio_buffer.append", "audio": sound})
        await session.sent("input_audio_buffer.append")
        assert [one.model for one in holds(mesh)] == ["scribe"]
        for kind in ("response.create", "conversation.item.create", "response.cancel"):
            await session.say({"type": kind, "event_id": kind})
            declined = await session.declined()
            assert (declined.field, declined.event_id) == ("type", kind)
        session.talk.says("input_audio_buffer.committed", item_id="i1")
        await session.told()
        session.talk.says(
            "conversation.item.input_audio_transcription.completed", transcript="nine", transcript_seconds=1.0
        )
        assert (await session.told())["transcript"] == "nine"
        await until(lambda: bool(ended(mesh)))
        assert (ended(mesh)[0].model, ended(mesh)[0].input_tokens) == ("scribe", 10)
        turns = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.2}}}}
        await session.say({"type": "session.update", "session": {"type": "transcription", **turns}})
        sent = (await session.sent("session.update", 2))["session"]
        assert sent["audio"]["input"]["turn_detection"] == {"type": "server_vad", "threshold": 0.2}
        assert not session.all("response.create")


async def test_a_key_for_sessions_alone_opens_them(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    by = gateway.by("acme/search", scopes=["realtime"])
    async with begun(by, mesh, SESSION, model="talker") as session:
        assert (await session.told())["type"] == "session.created"
