"""OpenAI's Responses through the official SDK, at once, streamed and in the background; and answers that come too late."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh

TOOL: Any = {
    "type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False,
}  # fmt: skip


def fresh() -> str:
    return f"hello {uuid4().hex}"


async def over(client: AsyncOpenAI, response: Response) -> Response:
    async with asyncio.timeout(30):
        while response.status in ("queued", "in_progress"):
            await asyncio.sleep(0.1)
            response = await client.responses.retrieve(response.id)
    return response


async def test_a_response_at_once(client: AsyncOpenAI, mesh: Mesh) -> None:
    said = fresh()
    made = await client.responses.create(
        model="echo", input=said, instructions="Be brief.", temperature=0.5, metadata={"order": "4711"}
    )
    assert (made.status, made.output_text, made.object) == ("completed", f"You said: {said}", "response")
    assert (made.instructions, made.temperature, made.metadata) == ("Be brief.", 0.5, {"order": "4711"})
    assert made.usage is not None and made.usage.output_tokens > 0 and made.background is False
    asked = mesh.provider.asked("echo")[-1]["messages"]
    assert [one["role"] for one in asked] == ["system", "user"] and asked[0]["content"] == "Be brief."


async def test_what_a_model_would_read_is_counted(client: AsyncOpenAI, mesh: Mesh) -> None:
    before = len(mesh.provider.asked("echo"))
    bare = await client.responses.input_tokens.count(model="echo", input="nine crowns")
    assert bare.object == "response.input_tokens" and 0 < bare.input_tokens < 30
    long = await client.responses.input_tokens.count(input="nine crowns " * 100, instructions="Be brief.")
    assert long.input_tokens > 200
    assert len(mesh.provider.asked("echo")) == before
    first = await client.responses.create(model="echo", input="nine crowns " * 100)
    asked: Any = {"model": "echo", "input": "and now?", "previous_response_id": first.id}
    assert (await client.responses.input_tokens.count(**asked)).input_tokens > long.input_tokens
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.input_tokens.count(model="echo", input="hi", previous_response_id="resp_1")
    assert refused.value.code == "previous_response_not_found"


async def test_a_conversation_with_a_tool(client: AsyncOpenAI, mesh: Mesh) -> None:
    said = fresh()
    first = await client.responses.create(model="tools", input=said, tools=[TOOL], tool_choice="required")
    (call,) = first.output
    assert call.type == "function_call" and call.name == "weather" and said in call.arguments
    history: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": said}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        *(one.model_dump() for one in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    second = await client.responses.create(model="tools", input=history, tools=[TOOL])
    assert second.output_text == "You said: sunny"
    asked = mesh.provider.asked("tools")[-1]["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "tool"]
    assert asked[1]["tool_calls"][0]["id"] == asked[2]["tool_call_id"] == call.call_id


async def test_a_tool_shows_a_picture(client: AsyncOpenAI, mesh: Mesh) -> None:
    said, picture = fresh(), "data:image/png;base64,cG5n"
    output: Any = [
        {"type": "input_text", "text": "the map"},
        {"type": "input_image", "image_url": picture, "detail": "low"},
    ]
    history: Any = [
        {"role": "user", "content": said},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": output},
    ]
    await client.responses.create(model="echo", input=history, tools=[TOOL])
    *_, result, shown = mesh.provider.asked("echo")[-1]["messages"]
    assert (result["role"], result["content"], shown["role"]) == ("tool", "the map", "user")
    assert shown["content"][1] == {"type": "image_url", "image_url": {"url": picture, "detail": "low"}}


async def test_a_streamed_response(client: AsyncOpenAI) -> None:
    said = fresh()
    async with client.responses.stream(model="echo", input=said) as events:
        seen = [event async for event in events]
        final = await events.get_final_response()
    kinds = [event.type for event in seen]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert "".join(one.delta for one in seen if one.type == "response.output_text.delta") == f"You said: {said}"
    assert final.output_text == f"You said: {said}" and final.usage is not None and final.usage.output_tokens > 0
    numbers = [getattr(one, "sequence_number", None) for one in seen]
    assert numbers == list(range(len(seen)))


async def test_a_streamed_call_of_a_tool(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="tools", input=fresh(), tools=[TOOL], stream=True)
    seen = [event async for event in stream]
    deltas = "".join(one.delta for one in seen if one.type == "response.function_call_arguments.delta")
    (done,) = [one for one in seen if one.type == "response.function_call_arguments.done"]
    assert deltas == done.arguments and '"text"' in deltas
    assert seen[-1].type == "response.completed" and seen[-1].response.output[0].type == "function_call"


async def test_a_stream_that_breaks_says_so(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="cut", input=fresh(), stream=True)
    seen = [event async for event in stream]
    last = seen[-1]
    assert last.type == "response.failed" and last.response.error is not None


async def test_a_background_response(client: AsyncOpenAI) -> None:
    said, key = fresh(), {"Idempotency-Key": uuid4().hex}
    begun = time.monotonic()
    made = await client.responses.create(model="late", input=said, background=True, extra_headers=key)
    assert made.status in ("queued", "in_progress") and made.background and time.monotonic() - begun < 1.4
    again = await client.responses.create(model="late", input=said, background=True, extra_headers=key)
    assert again.id == made.id
    done = await over(client, made)
    assert (done.status, done.output_text, done.model) == ("completed", f"You said: {said}", "late")
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_a_background_response_is_cancelled(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.responses.create(model="slow", input=fresh(), background=True)
    stopped = await client.responses.cancel(made.id)
    assert stopped.status == "cancelled" and (await client.responses.retrieve(made.id)).status == "cancelled"
    assert (await client.responses.cancel(made.id)).status == "cancelled", "asked again it is as it was"


async def test_a_background_response_that_fails_says_why(client: AsyncOpenAI) -> None:
    made = await over(client, await client.responses.create(model="gpt-99", input=fresh(), background=True))
    assert (
        made.status == "failed"
        and made.error is not None
        and made.error.code == "invalid_prompt"
        and "gpt-99" in made.error.message
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x", "temperature": 9}, "temperature"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "x", "background": True, "stream": True}, "stream"),
        ({"input": "x", "background": True, "store": False}, "store"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": "x"}, {"role": "king", "content": "x"}]}, "input[1].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": "x", "colour": 1}, "colour"),
    ],
)
async def test_what_is_wrong_is_named(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    made = await sent(mesh, {"model": "echo", **body}, path="/v1/responses")
    assert made.status == 400 and made.json["error"]["param"] == param, made.raw


async def test_nobody_reads_anothers_response(mesh: Mesh, client: AsyncOpenAI) -> None:
    made = await client.responses.create(model="echo", input=fresh(), background=True)
    other = mesh.new_key("globex/app")
    for path in (f"/v1/responses/{made.id}", f"/tollway/v1/jobs/job_{made.id.removeprefix('resp_')}"):
        assert (await sent(mesh, path=path, method="GET", key=other)).status == 404
        assert (await sent(mesh, path=path, method="GET")).status == 200
        assert (await sent(mesh, path=path[:-3], method="GET")).status == 404


async def test_an_answer_that_comes_too_late_is_collected(mesh: Mesh) -> None:
    body = asking(model="late")
    first = await sent(mesh, body, headers={"x-tollway-defer-after": "0.3"})
    assert first.status == 202 and first.json["object"] == "tollway.job", first.raw
    where = first.headers["location"]
    async with asyncio.timeout(20):
        while (found := await sent(mesh, path=where, method="GET")).json["status"] != "succeeded":
            assert found.json["status"] in ("running", "queued"), found.raw
            await asyncio.sleep(0.1)
    result = found.json["result"]
    assert result["choices"][0]["message"]["content"].startswith("You said: hello")
    assert found.headers["x-tollway-model"] == "late" and found.json["attempts"] == 1
    said = body["messages"][0]["content"]
    assert len([one for one in mesh.provider.asked("late") if one["messages"][0]["content"] == said]) == 1
    assert (await sent(mesh, path=where, method="DELETE")).json["deleted"] is True
    assert (await sent(mesh, path=where, method="GET")).status == 404


async def test_an_answer_that_is_there_in_time_is_given(mesh: Mesh) -> None:
    made = await sent(mesh, {**asking(), "tollway": {"defer_after_s": 20}})
    assert made.status == 200 and made.text.startswith("You said")
    wrong = await sent(mesh, asking(), headers={"x-tollway-defer-after": "soon"})
    assert wrong.status == 400 and wrong.json["error"]["param"] == "x-tollway-defer-after"
    streamed = await sent(mesh, asking(stream=True), headers={"x-tollway-defer-after": "1"})
    assert streamed.status == 400


async def test_a_deferred_answer_tells_no_limits_of_long_ago(mesh: Mesh) -> None:
    key = mesh.new_key("unhurried/app")
    assert mesh.tollway("budgets", "set", "unhurried", "50requests", "--per=day").returncode == 0
    at_once = await sent(mesh, asking(), key=key)
    assert at_once.headers["x-ratelimit-limit-requests"] == "50"
    deferred = await sent(mesh, asking(model="late"), key=key, headers={"x-tollway-defer-after": "0.2"})
    assert deferred.status == 202
    async with asyncio.timeout(20):
        while (made := await sent(mesh, path=deferred.json["url"], method="GET", key=key)).json[
            "status"
        ] != "succeeded":
            await asyncio.sleep(0.1)
    assert "x-tollway-model" in made.headers and not any(one.startswith("x-ratelimit") for one in made.headers)


async def test_a_deferred_answer_is_cancelled(mesh: Mesh) -> None:
    first = await sent(mesh, asking(model="slow"), headers={"x-tollway-defer-after": "0.2"})
    where = first.json["url"]
    stopped = await sent(mesh, path=f"{where}/cancel")
    assert stopped.json["status"] == "cancelled"
    assert (await sent(mesh, path=f"{where}/cancel")).status == 400
