"""Sessions of speech and text over every transport: what passes, what is held and paid, and what becomes of what cannot be done."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import StatusCode as Code
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from tests.orchestrator.peers import Away, Mesh, Talk
from tests.orchestrator.test_service import gateway, mesh  # noqa: F401 - fixtures
from tests.support.refusals import refused
from tests.support.stubs import Called
from tests.support.waiting import until

VAD = {"type": "server_vad", "threshold": 0.4, "create_response": True}
SESSION = {"type": "realtime", "max_output_tokens": "inf", "audio": {"input": {"turn_detection": VAD}}}
QUIET = {**SESSION, "audio": {"input": {"turn_detection": {**VAD, "create_response": False}}}, "max_output_tokens": 500}
USAGE = chat.Usage(
    input_tokens=40, output_tokens=20, kinds=chat.TokenKinds(audio_input_tokens=10, audio_output_tokens=15)
)
SAID = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "nine crowns"}]}
ITEM = {"type": "conversation.item.create", "event_id": "e1", "item": SAID}
CREATE = {"type": "response.create", "event_id": "e2"}


class Session:
    """A caller's end of one, and the provider's."""

    def __init__(self, call: Any, talk: Talk) -> None:
        self.call, self.talk = call, talk

    async def say(self, event: dict[str, Any]) -> None:
        await self.call.write(pb.ConverseRequest(event=json.dumps(event)))

    async def told(self) -> dict[str, Any]:
        said = await self.call.read()
        assert said.HasField("event"), said
        return dict(json.loads(said.event))

    async def declined(self) -> pb.Declined:
        said = await self.call.read()
        assert said.HasField("declined"), said
        return said.declined  # type: ignore[no-any-return]

    async def sent(self, kind: str, count: int = 1) -> dict[str, Any]:
        await until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.talk.sent if one["type"] == kind]

    async def begins(self, response_id: str = "r1") -> None:
        self.talk.says("response.created", response={"id": response_id})
        assert (await self.told())["type"] == "response.created"

    async def ends(self, response_id: str = "r1", usage: chat.Usage | None = USAGE, **more: Any) -> None:
        self.talk.says("response.done", response={"id": response_id, "output": [], **more}, usage=usage)
        assert (await self.told())["type"] == "response.done"


@asynccontextmanager
async def opened(gateway: Called, mesh: Mesh, session: dict[str, Any] = SESSION) -> AsyncIterator[Session]:  # noqa: F811
    mesh.talk = Talk()
    mesh.talk.says("session.created", session=session)
    call = gateway.Converse()
    await call.write(pb.ConverseRequest(open=pb.OpenConversation(model="talker", labels={"team": "tolls"})))
    road = (await call.read()).road
    assert road.model == "talker"
    made = Session(call, mesh.talk)
    assert (await made.told())["session"] == session
    await made.sent("session.update")
    mesh.talk.says("session.updated", session=QUIET)
    yield made
    call.cancel()


def holds(mesh: Mesh) -> list[Any]:  # noqa: F811
    return [one.attempts[0] for name, one in mesh.all if name == "Reserve"]


def ended(mesh: Mesh, how: str = "Settle") -> list[Any]:  # noqa: F811
    return [one for name, one in mesh.all if name == how]


async def test_a_response_is_looked_at_held_for_and_paid(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        assert mesh.talk.opened.model == "talker"
        quiet = (await session.sent("session.update"))["session"]
        assert quiet["audio"]["input"]["turn_detection"] == {**VAD, "create_response": False}
        assert quiet["max_output_tokens"] == 500
        await session.say(ITEM)
        assert (await session.sent("conversation.item.create")) == ITEM
        await session.say({**CREATE, "response": {"max_output_tokens": "inf", "instructions": "Be brief."}})
        assert (await session.sent("response.create"))["response"] == {
            "max_output_tokens": 500,
            "instructions": "Be brief.",
        }
        (held,) = holds(mesh)
        assert (held.model, held.provider, held.provider_model) == ("talker", "p", "t")
        assert held.input_tokens >= len("nine crowns") + len("Be brief.")
        assert (held.output_tokens, held.kinds.audio_output_tokens) == (500, 500)
        await session.begins()
        await session.ends()
        await until(lambda: bool(ended(mesh)))
        (paid,) = ended(mesh)
        assert (paid.input_tokens, paid.output_tokens, paid.model) == (40, 20, "talker")
        assert (paid.kinds, dict(paid.tags)) == (USAGE.kinds, {"team": "tolls"})
        await session.say(CREATE)  # the next one reads what this one has read and written
        await session.sent("response.create", 2)
        assert holds(mesh)[1].input_tokens == 60 + len('{"type":"response.create","event_id":"e2"}')
        assert holds(mesh)[1].kinds.audio_input_tokens == 25
    assert mesh.asked.count("guard.InspectPrompt") == 2
    await until(lambda: len(ended(mesh, "Release")) == 1)  # it was not begun


async def test_the_most_is_what_a_model_holds(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        for _ in range(3):
            sound = base64.b64encode(b"\1" * 1_200_000).decode()
            await session.say({"type": "input_audio_buffer.append", "audio": sound})
        await session.say({"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}})
        await session.say(CREATE)
        await session.sent("response.create")
        (held,) = holds(mesh)
        assert (held.input_tokens, held.kinds.audio_input_tokens, held.kinds.audio_output_tokens) == (1000, 1000, 0)


async def test_what_nobody_pays_for_is_not_begun(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.refuses_holds = True
    async with opened(gateway, mesh) as session:
        await session.say(CREATE)
        declined = await session.declined()
        assert (declined.code, declined.event_id) == (Code.RESOURCE_EXHAUSTED.value[0], "e2")
        session.talk.says("input_audio_buffer.committed", item_id="i1")
        assert (await session.told())["type"] == "input_audio_buffer.committed"
        assert (await session.declined()).event_id == ""
        assert not session.all("response.create")
        mesh.refuses_holds = False
        await session.say(CREATE)
        await session.sent("response.create")


async def test_what_policy_forbids_is_not_sent(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        mesh.blocked = True
        await session.say(ITEM)
        declined = await session.declined()
        assert (declined.reason, declined.event_id) == ("PROMPT_BLOCKED", "e1")
        mesh.blocked, mesh.kept_to = False, ["m"]
        await session.say(ITEM)
        assert (await session.declined()).reason == "DATA_KEPT"
        mesh.kept_to = ["talker"]
        await session.say(ITEM)
        await session.sent("conversation.item.create")
        assert len(session.talk.sent) == 2


async def test_an_utterance_is_answered_once(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        session.talk.says("input_audio_buffer.committed", item_id="i1")
        session.talk.says("input_audio_buffer.timeout_triggered", item_id="i1")
        session.talk.says("input_audio_buffer.timeout_triggered", item_id="i2")
        for _ in range(3):
            await session.told()
        await session.sent("response.create", 2)
        assert len(holds(mesh)) == 2
        await session.say({"type": "input_audio_buffer.commit"})
        commit = await session.sent("input_audio_buffer.commit")
        session.talk.says(
            "input_audio_buffer.committed", item_id="i3"
        )  # the caller's own: it begins a response by itself
        await session.told()
        await session.say({"type": "input_audio_buffer.commit"})
        await session.sent("input_audio_buffer.commit", 2)
        again = session.all("input_audio_buffer.commit")[1]["event_id"]
        assert again != commit["event_id"]
        session.talk.says("error", error={"code": "input_audio_buffer_commit_empty", "event_id": again})
        assert (await session.told())["error"] == {"code": "input_audio_buffer_commit_empty", "event_id": None}
        session.talk.says("input_audio_buffer.committed", item_id="i4")
        await session.told()
        await session.sent("response.create", 3)


async def test_what_a_provider_refuses_is_given_back(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    busy = "conversation_already_has_active_response"
    async with opened(gateway, mesh) as session:
        session.talk.says("input_audio_buffer.committed", item_id="i1")
        await session.told()
        ours = (await session.sent("response.create"))["event_id"]
        await session.say(CREATE)
        await session.sent("response.create", 2)
        session.talk.says("error", error={"code": busy, "event_id": ours})  # the caller did not ask: it is not told
        session.talk.says("error", error={"code": busy, "event_id": "e2"})
        assert (await session.told())["error"] == {"code": busy, "event_id": "e2"}
        await until(lambda: len(ended(mesh, "Release")) == 2)


async def test_what_a_provider_begins_by_itself_is_held_for_or_stopped(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        await session.begins()
        assert len(holds(mesh)) == 1
        await session.ends(usage=None)
        await until(lambda: len(ended(mesh, "Release")) == 1)  # nothing of it was seen, and nothing told
        mesh.refuses_holds = True
        await session.begins("r2")
        assert (await session.declined()).code == Code.RESOURCE_EXHAUSTED.value[0]
        assert (await session.sent("response.cancel"))["response_id"] == "r2"


async def test_a_response_beside_the_conversation_is_not_read_by_the_next(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        await session.say(CREATE)
        await session.sent("response.create")
        await session.begins()
        await session.ends(conversation_id=None)
        await session.say(CREATE)
        await session.sent("response.create", 2)
        assert holds(mesh)[1].input_tokens < 100


@pytest.mark.parametrize("how", ["provider", "caller"])
async def test_what_was_said_before_a_break_is_paid_for(gateway: Called, mesh: Mesh, how: str) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        for n in (1, 2):
            await session.say({**CREATE, "event_id": f"e{n}"})
        await session.sent("response.create", 2)
        await session.begins()
        at = {"response_id": "r1", "item_id": "i1", "content_index": 0}
        session.talk.says("response.output_audio_transcript.delta", **at, delta="nine crowns!")
        session.talk.says("response.output_audio.delta", **at, delta=base64.b64encode(b"\1" * 48_000).decode())
        assert [(await session.told())["type"] for _ in range(2)]
        if how == "provider":
            session.talk.breaks(Away())
            assert (await refused(session.call.read()))[0] is Code.UNAVAILABLE
        else:
            session.call.cancel()
        await until(lambda: bool(ended(mesh)) and bool(ended(mesh, "Release")))
    (paid,) = ended(mesh)
    assert paid.output_tokens == 3 + 20 and paid.kinds.audio_output_tokens == 20  # of 12 characters, and of a second
    await until(lambda: session.talk.ended)


async def test_a_provider_that_cannot_be_kept_from_beginning_is_left(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.talk = Talk()
    mesh.talk.says("session.created", session=SESSION)
    call = gateway.Converse()
    await call.write(pb.ConverseRequest(open=pb.OpenConversation(model="talker")))
    session = Session(call, mesh.talk)
    assert (await call.read()).HasField("road") and await session.told()
    ours = (await session.sent("session.update"))["event_id"]
    mesh.talk.says("error", error={"code": "unknown_parameter", "event_id": ours})
    assert await refused(call.read()) == (Code.UNAVAILABLE, "SESSION_OUT_OF_HAND")


async def test_callers_are_told_what_they_asked_for(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async with opened(gateway, mesh) as session:
        turns = {"turn_detection": {"type": "semantic_vad"}}
        asked = {"type": "realtime", "model": "talker", "max_output_tokens": 100, "audio": {"input": turns}}
        await session.say({"type": "session.update", "session": asked})
        sent = (await session.sent("session.update", 2))["session"]
        assert sent["audio"]["input"]["turn_detection"] == {"type": "semantic_vad", "create_response": False}
        assert (sent["max_output_tokens"], sent["model"]) == (100, "t")
        session.talk.says("session.updated", session=sent)
        echoed = (await session.told())["session"]
        assert echoed["audio"]["input"]["turn_detection"]["create_response"] is True and echoed["model"] == "talker"
        await session.say({"type": "session.update", "session": {"type": "realtime", "model": "other"}})
        assert (await session.declined()).field == "session.model"
        await session.say({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": "inf"}})
        assert (await session.sent("session.update", 3))["session"]["max_output_tokens"] == 500
        session.talk.says("session.updated", session=QUIET)
        assert (await session.told())["session"]["max_output_tokens"] == "inf"


async def test_transcripts_are_held_for_before_their_sound_is_sent(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    done = "conversation.item.input_audio_transcription.completed"
    async with opened(gateway, mesh) as session:
        spoken = {"audio": {"input": {"transcription": {"model": "scribe"}, "format": {"type": "audio/pcmu"}}}}
        await session.say({"type": "session.update", "session": {"type": "realtime", **spoken}})
        sent = await session.sent("session.update", 2)
        assert sent["session"]["audio"]["input"]["transcription"]["model"] == "w"
        minute_and_more = base64.b64encode(b"\1" * 8_000 * 61).decode()
        await session.say({"type": "input_audio_buffer.append", "audio": minute_and_more})
        await session.sent("input_audio_buffer.append")
        assert [(one.model, one.input_tokens, one.output_tokens) for one in holds(mesh)] == [("scribe", 600, 600)] * 2
        session.talk.says(done, transcript="nine", transcript_seconds=2.5)
        await session.told()
        await until(lambda: bool(ended(mesh)) and bool(ended(mesh, "Release")))
        assert (ended(mesh)[0].model, ended(mesh)[0].input_tokens, ended(mesh)[0].output_tokens) == ("scribe", 30, 0)
        session.talk.says(done, transcript="ten", transcript_usage=chat.Usage(input_tokens=7, output_tokens=4))
        await session.told()
        await until(lambda: len(ended(mesh)) == 2)  # one that comes late is held for then
        assert (ended(mesh)[1].input_tokens, ended(mesh)[1].output_tokens) == (7, 4)
        mesh.refuses_holds = True
        await session.say({"type": "input_audio_buffer.append", "audio": minute_and_more})
        assert (await refused(session.call.read()))[0] is Code.RESOURCE_EXHAUSTED


async def test_who_may_not_is_told_before_there_is_a_session(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    async def asked(*said: pb.ConverseRequest, by: Called = gateway) -> None:
        mesh.talk = Talk()
        mesh.talk.says("session.created", session=SESSION)
        call = by.Converse()
        for one in said:
            await call.write(one)
        while await call.read() is not grpc.aio.EOF:
            pass

    opening = pb.ConverseRequest(open=pb.OpenConversation(model="talker"))
    missing = (Code.INVALID_ARGUMENT, "OPEN_MISSING")
    assert await refused(asked(pb.ConverseRequest(event="{}"))) == missing
    assert await refused(asked(opening, opening)) == missing
    by = {name: gateway.by("acme/search", **{name: [value]}) for name, value in
          (("models", "m"), ("regions", "us"), ("scopes", "embeddings"))}  # fmt: skip
    assert await refused(asked(opening, by=by["models"])) == (Code.PERMISSION_DENIED, "MODEL_NOT_ALLOWED")
    assert await refused(asked(opening, by=by["regions"])) == (Code.PERMISSION_DENIED, "REGION_NOT_ALLOWED")
    assert await refused(asked(opening, by=by["scopes"])) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")
    mesh.away["models"] = Code.UNAVAILABLE
    assert (await refused(asked(pb.ConverseRequest(open=pb.OpenConversation(model="nobody")))))[0] is Code.UNAVAILABLE
