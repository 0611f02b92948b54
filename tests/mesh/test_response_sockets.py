"""OpenAI's Responses over a web socket, through its SDK: one after another, several at once, gone on from though nothing is kept."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from openai import AsyncOpenAI

from services.edge.response_sockets import MOST_WAITING
from tests.mesh.running import Mesh
from tests.mesh.test_realtime import deltas, raw
from tests.support.waiting import eventually, until

PATH = "/v1/responses"
MAIL = "greta@example.com"
TOOL: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
END = ("response.completed", "response.incomplete", "response.failed", "error")


def fresh() -> str:
    return f"hello {uuid4().hex}"


@pytest.fixture
async def socket(mesh: Mesh) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with raw(mesh, "", path=PATH) as made:
        yield made


async def ask(socket: aiohttp.ClientWebSocketResponse, **asked: Any) -> None:
    await socket.send_json({"type": "response.create", "model": "echo", **asked})


async def told(socket: aiohttp.ClientWebSocketResponse, lane: str | None = None) -> list[dict[str, Any]]:
    """Every event of one response, to its end."""
    events = list[dict[str, Any]]()
    while not events or events[-1]["type"] not in END:
        said = await socket.receive_json(timeout=20)
        assert lane is None or said.get("stream_id") == lane
        events.append(said)
    return events


async def test_the_sdk_asks_and_goes_on_from_what_it_was_told(client: AsyncOpenAI, mesh: Mesh) -> None:
    said, events = fresh(), list[Any]()
    async with client.responses.connect() as connection:
        await connection.response.create(model="echo", input=f"{said} {MAIL}", instructions="Be brief.")
        async for event in connection:
            events.append(event)
            if event.type == "response.completed":
                break
        made = events[-1].response
        assert made.output[0].content[0].text == f"You said: {said} {MAIL}"
        assert [one.type for one in events[:2]] == ["response.created", "response.in_progress"]
        assert [one.sequence_number for one in events] == list(range(len(events)))
        await connection.response.create(model="echo", input="and now?", previous_response_id=made.id)
        async for event in connection:
            if event.type == "response.completed":
                assert event.response.previous_response_id == made.id
                break
    asked = mesh.provider.asked("echo")[-1]["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "user"]
    assert MAIL not in json.dumps(asked)
    assert (await client.responses.retrieve(made.id)).output_text == f"You said: {said} {MAIL}"


async def test_what_is_not_kept_is_gone_on_from_on_its_socket(
    socket: aiohttp.ClientWebSocketResponse, mesh: Mesh, client: AsyncOpenAI
) -> None:
    await ask(socket, model="tools", input=f"{fresh()} {MAIL}", tools=[TOOL], tool_choice="required", store=False)
    first = (await told(socket))[-1]["response"]
    (call,) = first["output"]
    assert call["type"] == "function_call" and MAIL in call["arguments"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    await ask(socket, model="tools", input=[result], tools=[TOOL], previous_response_id=first["id"], store=False)
    assert deltas(await told(socket)) == "You said: sunny"
    asked = mesh.provider.asked("tools")[-1]["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "tool"] and MAIL not in json.dumps(asked)
    async with raw(mesh, "", path=PATH) as other:
        await ask(other, input="hi", previous_response_id=first["id"])
        (fault,) = await told(other)
        assert (fault["status"], fault["error"]["code"]) == (400, "previous_response_not_found")
        assert fault["error"]["param"] == "previous_response_id"


async def test_a_request_may_be_made_ready_and_answered_later(
    socket: aiohttp.ClientWebSocketResponse, mesh: Mesh
) -> None:
    before, said = len(mesh.provider.asked("echo")), fresh()
    await ask(socket, input=said, generate=False, instructions="Be brief.", store=False)
    events = await told(socket)
    ready = events[-1]["response"]
    assert (ready["status"], ready["output"], ready["usage"]["total_tokens"]) == ("completed", [], 0)
    assert len(mesh.provider.asked("echo")) == before
    await ask(socket, input="again", previous_response_id=ready["id"], store=False)
    assert deltas(await told(socket)) == "You said: again"
    asked = mesh.provider.asked("echo")[-1]["messages"]
    assert [(one["role"], one["content"]) for one in asked] == [("user", said), ("user", "again")]


async def test_lanes_run_at_once_and_each_in_its_order(socket: aiohttp.ClientWebSocketResponse, mesh: Mesh) -> None:
    await ask(socket, model="late", input=fresh(), stream_id="a")
    await ask(socket, input="second", stream_id="a")
    await ask(socket, input="beside", stream_id="b")
    assert deltas(await told(socket, "b")) == "You said: beside", "it need not wait for the slow one"
    ended = list[str]()
    async with asyncio.timeout(30):
        while len(ended) < 2:
            said = await socket.receive_json()
            assert said["stream_id"] == "a"
            if said["type"] == "response.completed":
                ended.append(said["response"]["model"])
    assert ended == ["late", "echo"]


async def test_a_socket_bears_so_many_requests_at_once(socket: aiohttp.ClientWebSocketResponse) -> None:
    for n in range(MOST_WAITING + 1):
        await ask(socket, model="late", input=fresh(), stream_id=str(n))
    faults = [said for said in [await socket.receive_json(timeout=20)] if said["type"] == "error"]
    assert [(one["status"], one["stream_id"]) for one in faults] == [(429, str(MOST_WAITING))]


async def test_who_leaves_ends_all_that_is_under_way(mesh: Mesh) -> None:
    left = mesh.provider.left
    async with raw(mesh, "", path=PATH) as socket:
        for lane in ("a", "b"):
            await ask(socket, model="endless", input=fresh(), stream_id=lane)
        started = set[str]()
        while len(started) < 2:
            said = await socket.receive_json(timeout=20)
            if said["type"] == "response.output_text.delta":
                started.add(said["stream_id"])
    await until(lambda: mesh.provider.left >= left + 2)


@pytest.mark.parametrize(
    ("event", "status", "param"),
    [
        ("nonsense", 400, None),
        ([], 400, None),
        ({}, 400, "type"),
        ({"type": "response.cancel"}, 400, "type"),
        ({"type": "response.create", "input": "hi"}, 400, "model"),
        ({"type": "response.create", "model": "echo", "input": "hi", "background": True}, 400, "background"),
        ({"type": "response.create", "model": "echo", "input": "hi", "stream": False}, 400, "stream"),
        ({"type": "response.create", "model": "echo", "input": "hi", "stream_id": 7}, 400, "stream_id"),
        ({"type": "response.create", "model": "echo", "input": "hi", "generate": "no"}, 400, "generate"),
        ({"type": "response.create", "model": "echo", "input": "hi", "temperature": 7}, 400, "temperature"),
        ({"type": "response.create", "model": "nobody", "input": "hi", "stream_id": "a"}, 404, "model"),
        ({"type": "response.create", "model": "broken-socketed", "input": "hi"}, 502, None),
    ],
)  # fmt: skip
async def test_a_mistake_is_told_and_the_socket_goes_on(
    socket: aiohttp.ClientWebSocketResponse, event: Any, status: int, param: str | None
) -> None:
    await socket.send_str(event if isinstance(event, str) else json.dumps(event))
    (fault,) = await told(socket)
    assert (fault["type"], fault["status"], fault["error"]["param"]) == ("error", status, param)
    assert fault.get("stream_id") == (event.get("stream_id") if param == "model" and status == 404 else None)
    await ask(socket, input="still here")
    assert deltas(await told(socket)) == "You said: still here"


async def test_a_response_that_breaks_off_says_so(socket: aiohttp.ClientWebSocketResponse) -> None:
    await ask(socket, model="cut-socketed", input=fresh())
    events = await told(socket)
    assert events[-1]["type"] == "response.failed" and events[-1]["response"]["status"] == "failed"


async def test_nothing_under_way_is_steered(socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.send_json({"type": "response.steer", "input": "faster", "previous_response_id": "resp_1"})
    said = await socket.receive_json(timeout=20)
    assert (said["type"], said["error"]["code"]) == ("response.steer.failed", "steering_not_supported")
    assert said["steer"] == {"input": "faster", "previous_response_id": "resp_1"}


async def test_each_request_is_one_of_a_key_that_is_still_good(mesh: Mesh) -> None:
    key = mesh.new_key("socket/app")
    key_id = next(
        line.split()[0] for line in mesh.tollway("keys", "list", "socket").stdout.splitlines() if "socket" in line
    )
    async with raw(mesh, "", path=PATH, key=key) as socket:
        await ask(socket, input=fresh())
        assert (await told(socket))[-1]["type"] == "response.completed"
        assert mesh.tollway("keys", "revoke", key_id).returncode == 0

        async def refused() -> bool:
            await ask(socket, input=fresh())
            last = (await told(socket))[-1]
            return bool(last["type"] == "error" and last["status"] == 401)

        await eventually(refused)  # within a second
    with pytest.raises(aiohttp.WSServerHandshakeError) as kept_out:
        async with raw(mesh, "", path=PATH, key="tw_wrong"):
            pass
    assert kept_out.value.status == 401


async def test_what_is_no_text_closes_the_socket(socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.send_bytes(b"\0")
    (fault,) = await told(socket)
    assert fault["error"]["code"] == "invalid_type"
    await socket.receive()
    assert socket.close_code == 1003
