"""Anthropic's Messages through the official SDK, unchanged: any model of the mesh answers, whole or streamed, masked and cached."""

import asyncio
import base64
from typing import Any
from uuid import uuid4

import anthropic
import orjson
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import message, messages, request
from services.edge.wire.errors import Refusal
from tests.mesh.client import sent
from tests.mesh.running import Mesh

TOOL: Any = {
    "name": "look",
    "description": "Looks it up.",
    "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
}
PATH = "/v1/messages"


def fresh() -> str:
    return f"hello {uuid4().hex}"


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_a_message_at_once(claude: AsyncAnthropic, mesh: Mesh) -> None:
    text = fresh()
    raw = await claude.messages.with_raw_response.create(
        model="echo", max_tokens=50, messages=said(text), system="Be brief.", extra_body={"temperature": 0.5, "top_k": 20}, stop_sequences=["never"],
        metadata={"user_id": "ann"},
    )  # fmt: skip
    made: Message = await raw.parse()
    assert (made.type, made.role, made.model, made.stop_reason) == ("message", "assistant", "echo", "end_turn")
    assert made.id.startswith("msg_")
    assert [(one.type, getattr(one, "text", "")) for one in made.content] == [("text", f"You said: {text}")]
    assert made.usage.input_tokens > 0 and made.usage.output_tokens > 0 and made.usage.cache_read_input_tokens == 0
    assert raw.headers["request-id"] == raw.headers["x-tollway-trace"]
    asked = mesh.provider.asked("echo")[-1]
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    assert (asked["temperature"], asked["top_k"], asked["stop"], asked["max_tokens"]) == (0.5, 20, ["never"], 50)


async def test_a_message_piece_by_piece(claude: AsyncAnthropic) -> None:
    text = fresh()
    async with claude.messages.stream(model="echo", max_tokens=50, messages=said(text)) as stream:
        words = [one async for one in stream.text_stream]
        made = await stream.get_final_message()
    assert "".join(words) == f"You said: {text}" and len(words) > 1
    assert (made.stop_reason, made.usage.output_tokens > 0, made.usage.input_tokens > 0) == ("end_turn", True, True)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_handed_in(claude: AsyncAnthropic, streamed: bool) -> None:
    text = fresh()
    more: Any = {"model": "tools", "max_tokens": 50, "tools": [TOOL]}
    if streamed:
        async with claude.messages.stream(messages=said(text), **more) as stream:
            first = await stream.get_final_message()
    else:
        first = await claude.messages.create(messages=said(text), tool_choice={"type": "any"}, **more)
    (call,) = first.content
    assert (
        call.type == "tool_use"
        and (call.name, call.input) == ("look", {"text": text})
        and first.stop_reason == "tool_use"
    )
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": f"found {text}"}]}
    history: Any = [*said(text), {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    done = await claude.messages.create(messages=history, **more)
    assert done.content[0].type == "text" and done.content[0].text == f"You said: found {text}"


async def test_tokens_are_counted_before_they_are_sent(claude: AsyncAnthropic, mesh: Mesh) -> None:
    before = len(mesh.provider.asked("echo"))
    raw = await claude.messages.with_raw_response.count_tokens(model="echo", messages=said("How long is this?"))
    plain = await raw.parse()
    assert len(raw.headers["request-id"]) == 32
    more = await claude.messages.count_tokens(
        model="echo", messages=said("How long is this?"), system="Be brief.", tools=[TOOL], tool_choice={"type": "auto"}
    )
    assert 5 <= plain.input_tokens <= 20 and more.input_tokens > plain.input_tokens + 5
    assert len(mesh.provider.asked("echo")) == before
    made = await claude.messages.create(model="echo", max_tokens=5, messages=said("How long is this?"))
    assert made.usage.input_tokens == pytest.approx(plain.input_tokens, abs=5)
    with pytest.raises(anthropic.NotFoundError):
        await claude.messages.count_tokens(model="nobody", messages=said("x"))
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await claude.messages.count_tokens(model="echo", messages=said("x"), extra_body={"max_tokens": 5})
    assert "max_tokens" in str(wrong.value.body)


def test_a_tool_that_failed_is_told_as_failed() -> None:
    result = {"type": "tool_result", "tool_use_id": "c", "content": "no such file", "is_error": True}
    call = {"type": "tool_use", "id": "c", "name": "look", "input": {}}
    turns = [*said("x"), {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    asked = messages.parsed(orjson.dumps({"model": "m", "max_tokens": 5, "messages": turns}))
    assert [one.failed for one in messages.chat_request(asked).messages] == [False, False, True]


async def test_an_instruction_in_the_middle_and_a_limit_beyond_the_models_are_taken(mesh: Mesh) -> None:
    """As Claude Code sends them."""
    body = {
        "model": "echo", "max_tokens": 64_000, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "two"},
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "three"},
        ],
    }  # fmt: skip
    answer = await sent(mesh, body, path=PATH)
    assert answer.status == 200 and answer.json["content"][0]["text"] == "You said: three"
    asked = mesh.provider.asked("echo")[-1]
    said = [(one["role"], one["content"]) for one in asked["messages"]]
    assert [role for role, _ in said] == ["user", "system", "assistant", "system", "user"]
    assert (said[1][1], said[3][1], asked["max_tokens"]) == ("Be brief.", "Be kind.", 4096)
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    body["messages"] = [{"role": "system", "content": [picture]}]
    refused = await sent(mesh, body, path=PATH)
    assert (refused.status, refused.json["error"]["param"]) == (400, "messages[0].content[0]")


async def test_a_tool_shows_a_picture(claude: AsyncAnthropic, mesh: Mesh) -> None:
    """Where results are text alone the picture comes right after them."""
    call = {"type": "tool_use", "id": "c1", "name": "look", "input": {}}
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"png").decode()}
    image, text = {"type": "image", "source": source}, fresh()
    result: Any = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": text}, image]}
    turns: Any = [*said(text), {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    await claude.messages.create(model="echo", max_tokens=5, messages=turns, tools=[TOOL])
    asked = mesh.provider.asked("echo")[-1]["messages"]
    assert asked[-2] == {"role": "tool", "tool_call_id": "c1", "content": text}
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}}
    assert asked[-1] == {"role": "user", "content": [{"type": "text", "text": "From the result of c1:"}, shown]}
    turns[-1]["content"] = [{**result, "content": [{"type": "image", "source": {**source, "data": "%"}}]}]
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await claude.messages.create(model="echo", max_tokens=5, messages=turns)
    assert "messages[2].content[0].content[0].source.data" in str(wrong.value.body)


async def test_what_is_private_stays_and_a_second_ask_is_served_from_the_cache(
    claude: AsyncAnthropic, mesh: Mesh
) -> None:
    text = f"write to {uuid4().hex[:8]}@example.com about it"
    more: Any = {"model": "echo", "max_tokens": 50, "messages": said(text)}
    first = await claude.messages.create(**more)
    assert first.content[0].type == "text" and first.content[0].text == f"You said: {text}"
    assert "@example.com" not in str(mesh.provider.asked("echo")[-1])
    async with asyncio.timeout(10):
        while (again := await claude.messages.with_raw_response.create(**more)).headers["x-tollway-cache"] != "exact":
            await asyncio.sleep(0.1)
    assert (await again.parse()).content == first.content


async def test_the_sdk_sees_typed_errors(claude: AsyncAnthropic, mesh: Mesh) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await claude.messages.create(model="nobody", max_tokens=5, messages=said("x"))
    body: Any = unknown.value.body
    assert (body["type"], body["error"]["type"], body["error"]["code"]) == (
        "error",
        "not_found_error",
        "model_not_found",
    )
    with pytest.raises(anthropic.RateLimitError) as busy:
        await claude.messages.create(model="busy", max_tokens=5, messages=said(fresh()))
    assert busy.value.response.headers["retry-after"]
    more: Any = {"model": "echo", "max_tokens": 50, "messages": said("x")}
    async with AsyncAnthropic(base_url=mesh.url, api_key="tw_nobody", max_retries=0) as nobody:
        with pytest.raises(anthropic.AuthenticationError):
            await nobody.messages.create(**more)
    async with AsyncAnthropic(base_url=mesh.url, auth_token=mesh.key, max_retries=0) as bearer:
        assert (await bearer.messages.create(**more)).content


async def test_a_stream_that_breaks_ends_in_an_error(mesh: Mesh) -> None:
    answer = await sent(mesh, {"model": "cut", "max_tokens": 50, "messages": said(fresh()), "stream": True}, path=PATH)
    assert answer.status == 200 and answer.events[0]["type"] == "message_start" and answer.events[-1]["type"] == "error"
    assert not any(one["type"] == "message_stop" for one in answer.events)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "1", "name": "x", "input": {}}]}]}, "messages[0].content[0]"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"top_k": 0}, "top_k"),
        ({"container": "x"}, "container"),
    ],
)  # fmt: skip
async def test_a_wrong_body_is_refused_by_its_field(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    whole = {"model": "echo", "max_tokens": 5, "messages": said("x"), **body}
    answer = await sent(mesh, {name: value for name, value in whole.items() if value is not None}, path=PATH)
    assert answer.status == 400 and answer.json["type"] == "error", answer.raw
    assert (answer.json["error"]["type"], answer.json["error"]["param"]) == ("invalid_request_error", param)


def asked(**more: Any) -> chat.ChatRequest:
    body = {"model": "m", "max_tokens": 5, "messages": said("x"), **more}
    return messages.chat_request(messages.parsed(orjson.dumps(body)))


def test_pictures_documents_and_thoughts() -> None:
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"png").decode()},
    }
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "its text"}}
    paper = {
        "type": "document",
        "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"},
    }
    thought = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "so"},
    ]
    made = asked(
        messages=[{"role": "user", "content": [picture, linked, plain, paper]}, {"role": "assistant", "content": thought}],
        system=[{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "two"}],
        thinking={"type": "enabled", "budget_tokens": 8000},
    )  # fmt: skip
    above, user, assistant = made.messages
    assert [(part.text, part.cache_mark) for part in above.parts] == [("one", True), ("two", False)]
    assert (
        user.parts[0].image.url == "data:image/png;base64,cG5n"
        and user.parts[1].image.url == "https://example.com/a.png"
    )
    assert user.parts[2].text == "its text" and (user.parts[3].file.filename, user.parts[3].file.data) == (
        "a.pdf",
        "data:application/pdf;base64,cGRm",
    )
    assert (assistant.reasoning, assistant.parts[0].text, made.reasoning_effort) == ("hm", "so", "medium")
    with pytest.raises(Refusal, match="not base64") as wrong:
        asked(messages=[{"role": "user", "content": [{**paper, "source": {**paper["source"], "data": "%"}}]}])  # type: ignore[dict-item]
    assert wrong.value.param == "messages[0].content[0].source.data"


def test_openais_wire_carries_a_mark_for_a_providers_own_cache_too() -> None:
    parts = [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "short"},
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    made = request.chat_request(request.parsed(orjson.dumps(body)))
    assert [part.cache_mark for part in made.messages[0].parts] == [True, False]


def test_results_come_before_what_is_said_beside_them() -> None:
    results = [{"type": "tool_result", "tool_use_id": f"c{n}", "content": f"r{n}"} for n in (1, 2)]
    made = asked(
        messages=[{"role": "user", "content": [*results, {"type": "text", "text": "and now?"}]}],
        tool_choice={"type": "tool", "name": "look", "disable_parallel_tool_use": True},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "max"},
        metadata={"user_id": "ann"},
    )  # fmt: skip
    assert [(one.role, one.tool_call_id, one.parts[0].text) for one in made.messages] == [
        (chat.ROLE_TOOL, "c1", "r1"), (chat.ROLE_TOOL, "c2", "r2"), (chat.ROLE_USER, "", "and now?"),
    ]  # fmt: skip
    assert (made.tool_choice.mode, made.tool_choice.function, made.parallel_tool_calls) == (
        chat.ToolChoice.MODE_FUNCTION,
        "look",
        False,
    )
    assert (made.response_format.schema_json, made.reasoning_effort, made.user) == ('{"type":"object"}', "xhigh", "ann")


def test_thoughts_text_and_calls_stand_in_blocks_of_their_own() -> None:
    events, told = message.Events(pb.Road(trace_id="t", model="m")), b""
    for delta in (
        chat.ChoiceDelta(reasoning="hm"), chat.ChoiceDelta(content="so "), chat.ChoiceDelta(content="it is"),
        chat.ChoiceDelta(tool_calls=[chat.ToolCallDelta(index=0, id="a", name="look", arguments='{"x":')]),
        chat.ChoiceDelta(tool_calls=[chat.ToolCallDelta(index=0, arguments="1}")]),
        chat.ChoiceDelta(tool_calls=[chat.ToolCallDelta(index=1, id="b", name="look")]),
        chat.ChoiceDelta(finish_reason=chat.FINISH_REASON_TOOL_CALLS),
    ):  # fmt: skip
        told += events.add(chat.ChatChunk(choices=[delta]))
    usage = chat.Usage(
        input_tokens=10, cached_input_tokens=6, output_tokens=4, kinds=chat.TokenKinds(cache_write_tokens=1)
    )
    told += events.end(pb.StreamCompleteResponse(chunk=chat.ChatChunk(usage=usage)))
    names = [line.removeprefix(b"event: ").decode() for line in told.split(b"\n") if line.startswith(b"event: ")]
    assert names == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert b'"input_tokens":3,"cache_creation_input_tokens":1,"cache_read_input_tokens":6' in told
    assert b'"stop_reason":"tool_use"' in told


@pytest.mark.parametrize(
    ("written", "read"), [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", {"value": [1]}), ("{a", {"invalid_json": "{a"})]
)
def test_arguments_are_an_object_whatever_a_model_writes(written: str, read: dict[str, Any]) -> None:
    calls = [chat.ToolCall(id="c", name="look", arguments=written)]
    choice = chat.Choice(message=chat.Message(tool_calls=calls), finish_reason=chat.FINISH_REASON_TOOL_CALLS)
    made = orjson.loads(message.whole(chat.ChatCompletion(id="1", model="m", choices=[choice]), pb.Road()))
    assert (
        made["content"] == [{"type": "tool_use", "id": "c", "name": "look", "input": read}]
        and made["stop_reason"] == "tool_use"
    )
