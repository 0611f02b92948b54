"""Responses that are kept, and gone on from, through the official SDK."""

import asyncio
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI

from tests.mesh.client import sent
from tests.mesh.running import Mesh

TOOL: Any = {
    "type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False,
}  # fmt: skip


def fresh(text: str = "hello") -> str:
    return f"{text} {uuid4().hex}"


def spoken(asked: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in asked["messages"]]


def text(item: Any) -> str:
    return str(item.content[0].text)


async def test_a_response_goes_on_from_another(client: AsyncOpenAI, mesh: Mesh) -> None:
    one, two, three = fresh("one"), fresh("two"), fresh("three")
    first = await client.responses.create(model="echo", input=one, instructions="Be brief.")
    assert first.previous_response_id is None
    second = await client.responses.create(
        model="echo", input=two, instructions="Be kind.", previous_response_id=first.id
    )
    assert second.output_text == f"You said: {two}" and second.previous_response_id == first.id
    so_far = [("user", one), ("assistant", f"You said: {one}"), ("user", two)]
    assert spoken(mesh.provider.asked("echo")[-1]) == [("system", "Be kind."), *so_far]
    await client.responses.delete(first.id)
    await client.responses.create(model="echo", input=three, previous_response_id=second.id)
    assert spoken(mesh.provider.asked("echo")[-1]) == [*so_far, ("assistant", f"You said: {two}"), ("user", three)]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model="echo", input=three, previous_response_id=first.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_what_is_kept_is_what_was_answered(client: AsyncOpenAI) -> None:
    said = fresh()
    made = await client.responses.create(model="echo", input=said, temperature=0.5, metadata={"order": "4711"})
    kept = await client.responses.retrieve(made.id)
    assert kept == made
    items = await client.responses.input_items.list(made.id)
    (item,) = items.data
    assert item.type == "message" and item.role == "user" and item.content[0].type == "input_text"
    assert item.content[0].text == said
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_a_streamed_response_is_kept_before_its_end_is_told(client: AsyncOpenAI) -> None:
    said = fresh()
    async with client.responses.stream(model="echo", input=said) as events:
        async for event in events:
            if event.type == "response.completed":
                kept = await client.responses.retrieve(event.response.id)
        final = await events.get_final_response()
    assert kept.output_text == final.output_text == f"You said: {said}"
    assert [one.to_dict()["id"] for one in kept.output] == [one.to_dict()["id"] for one in final.output]
    assert kept.usage == final.usage


async def test_a_tool_is_called_and_answers_across_turns(client: AsyncOpenAI, mesh: Mesh) -> None:
    stream = await client.responses.create(model="tools", input=fresh(), tools=[TOOL], stream=True)
    *_, last = [event async for event in stream]
    assert last.type == "response.completed"
    (call,) = last.response.output
    assert call.type == "function_call"
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    second = await client.responses.create(
        model="tools", input=result, tools=[TOOL], previous_response_id=last.response.id
    )
    assert second.output_text == "You said: sunny"
    user, assistant, tool = mesh.provider.asked("tools")[-1]["messages"]
    assert assistant["tool_calls"][0]["function"]["arguments"] == call.arguments
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == call.call_id and user["role"] == "user"
    items = await client.responses.input_items.list(second.id, order="asc")
    assert [one.type for one in items.data] == ["message", "function_call", "function_call_output"]
    assert items.data[1].id != call.id, "it is an item of what was asked"


async def test_items_come_page_by_page(client: AsyncOpenAI, mesh: Mesh) -> None:
    history: Any = [{"role": "user", "content": str(n)} for n in range(5)]
    made = await client.responses.create(model="echo", input=history, instructions="Be brief.")
    first = await client.responses.input_items.list(made.id, limit=2)
    assert first.has_more and [text(one) for one in first.data] == ["4", "3"]
    every = [text(one) async for one in client.responses.input_items.list(made.id, limit=2, order="asc")]
    assert every == ["0", "1", "2", "3", "4"]
    for query in ("order=up", "limit=0", "after=msg_1"):
        asked = await sent(mesh, path=f"/v1/responses/{made.id}/input_items?{query}", method="GET")
        assert asked.status == 400 and asked.json["error"]["param"] == query.partition("=")[0]


async def test_who_wants_nothing_kept_has_nothing_kept(client: AsyncOpenAI) -> None:
    made = await client.responses.create(model="echo", input=fresh(), store=False)
    assert made.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)
    async with client.responses.stream(model="echo", input=fresh(), store=False) as events:
        final = await events.get_final_response()
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(final.id)


async def test_an_item_is_named_in_place_of_being_said_again(client: AsyncOpenAI, mesh: Mesh) -> None:
    one, two = fresh("one"), fresh("two")
    first = await client.responses.create(model="tools", input=one, tools=[TOOL])
    spoke = await client.responses.create(model="echo", input=two)
    (call,), (said,) = first.output, spoke.output
    (asked,) = (await client.responses.input_items.list(spoke.id)).data
    assert call.type == "function_call" and said.type == "message"
    named: Any = [
        {"type": "item_reference", "id": asked.id},
        {"type": "item_reference", "id": said.id},
        {"type": "item_reference", "id": call.id},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    await client.responses.create(model="tools", input=named, tools=[TOOL])
    user, assistant, tool = mesh.provider.asked("tools")[-1]["messages"]
    assert (user["content"], assistant["content"], tool["content"]) == (two, f"You said: {two}", "sunny")
    assert assistant["tool_calls"][0]["function"]["arguments"] == call.arguments
    for unknown in (f"{said.id[:-1]}9", "msg_1", f"msg_{'0' * 36}"):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(
                model="echo", input=[{"role": "user", "content": "x"}, {"type": "item_reference", "id": unknown}]
            )
        assert refused.value.param == "input[1].id"
    other = mesh.new_key("globex/app")
    body = {"model": "echo", "input": [{"type": "item_reference", "id": said.id}]}
    assert (await sent(mesh, body, path="/v1/responses", key=other)).status == 400


async def test_in_the_background_it_goes_on_too(client: AsyncOpenAI, mesh: Mesh) -> None:
    one, two = fresh("one"), fresh("two")
    first = await client.responses.create(model="late", input=one, instructions="Be brief.", background=True)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model="echo", input=two, previous_response_id=first.id)
    assert refused.value.code == "previous_response_not_completed"
    async with asyncio.timeout(30):
        while first.status in ("queued", "in_progress"):
            await asyncio.sleep(0.1)
            first = await client.responses.retrieve(first.id)
    second = await client.responses.create(model="echo", input=two, previous_response_id=first.id, background=True)
    assert second.previous_response_id == first.id
    async with asyncio.timeout(30):
        while second.status in ("queued", "in_progress"):
            await asyncio.sleep(0.1)
            second = await client.responses.retrieve(second.id)
    assert second.output_text == f"You said: {two}" and second.previous_response_id == first.id
    assert spoken(mesh.provider.asked("echo")[-1]) == [
        ("user", one), ("assistant", f"You said: {one}"), ("user", two),
    ]  # fmt: skip


async def test_what_was_masked_stays_masked_and_comes_back(client: AsyncOpenAI, mesh: Mesh) -> None:
    address = f"{uuid4().hex}@example.com"
    first = await client.responses.create(model="echo", input=f"I am {address}")
    assert address in first.output_text
    again = fresh("say it again")
    await client.responses.create(model="echo", input=again, previous_response_id=first.id)
    asked = spoken(mesh.provider.asked("echo")[-1])
    assert asked[-1] == ("user", again) and address not in str(asked)
    placeholder = asked[0][1].removeprefix("I am ")
    assert asked[1] == ("assistant", f"You said: I am {placeholder}")


async def test_nobody_goes_on_from_anothers_response(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.responses.create(model="echo", input=fresh())
    body = {"model": "echo", "input": "x", "previous_response_id": made.id}
    refused = await sent(mesh, body, path="/v1/responses", key=mesh.new_key("globex/app"))
    assert refused.status == 400 and refused.json["error"]["code"] == "previous_response_not_found"
