"""OpenAI's conversations through the official SDK: kept by an id, and gone on from turn after turn."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.mesh.client import sent
from tests.mesh.running import Mesh
from tests.mesh.test_conversations import TOOL, fresh, spoken, text

UNKNOWN = f"conv_{'0' * 32}"


def id_of(item: Any) -> str:
    return str(item.id)


async def said(client: AsyncOpenAI, name: str) -> list[Any]:
    return [one async for one in client.conversations.items.list(name, order="asc", limit=2)]


async def test_a_conversation_is_gone_on_from(client: AsyncOpenAI, mesh: Mesh) -> None:
    one, two, three = fresh("one"), fresh("two"), fresh("three")
    begun: Any = [{"role": "user", "content": one}, {"role": "assistant", "content": "Yes."}]
    made = await client.conversations.create(items=begun, metadata={"topic": "rivers"})
    assert made.metadata == {"topic": "rivers"} and made.object == "conversation"
    first = await client.responses.create(model="echo", input=two, instructions="Be brief.", conversation=made.id)
    assert first.conversation is not None and first.conversation.id == made.id
    async with client.responses.stream(model="echo", input=three, conversation={"id": made.id}) as events:
        second = await events.get_final_response()
    assert second.conversation is not None and second.conversation.id == made.id
    assert spoken(mesh.provider.asked("echo")[-1]) == [
        ("user", one), ("assistant", "Yes."), ("user", two), ("assistant", f"You said: {two}"), ("user", three),
    ]  # fmt: skip
    items = await said(client, made.id)
    assert [text(item) for item in items] == [
        one, "Yes.", two, f"You said: {two}", three, f"You said: {three}",
    ]  # fmt: skip
    assert items[3].id == id_of(first.output[0]) and items[5].id == id_of(second.output[0])
    assert (await client.responses.retrieve(first.id)).conversation == first.conversation


async def test_items_are_added_shown_and_taken_out(client: AsyncOpenAI) -> None:
    made = await client.conversations.create()
    assert made.metadata == {} and (await client.conversations.items.list(made.id)).data == []
    new: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "look"},
                                     {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ]  # fmt: skip
    added = await client.conversations.items.create(made.id, items=new)
    assert [one.type for one in added.data] == ["message", "function_call", "function_call_output"]
    newest = await client.conversations.items.list(made.id, limit=1)
    assert newest.has_more and newest.data[0] == added.data[2]
    found = await client.conversations.items.retrieve(id_of(added.data[1]), conversation_id=made.id)
    assert found == added.data[1]
    left = await client.conversations.items.delete(id_of(added.data[2]), conversation_id=made.id)
    assert left.id == made.id and len(await said(client, made.id)) == 2
    changed = await client.conversations.update(made.id, metadata={"a": "b"})
    assert changed.metadata == (await client.conversations.retrieve(made.id)).metadata == {"a": "b"}
    gone = await client.conversations.delete(made.id)
    assert gone.deleted and gone.object == "conversation.deleted" and gone.id == made.id
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(made.id)


async def test_a_tool_is_called_and_answers_across_turns(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.conversations.create()
    first = await client.responses.create(model="tools", input=fresh(), tools=[TOOL], conversation=made.id)
    (call,) = first.output
    assert call.type == "function_call"
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    await client.responses.create(model="tools", input=result, tools=[TOOL], conversation=made.id)
    user, assistant, tool = mesh.provider.asked("tools")[-1]["messages"]
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == call.call_id and user["role"] == "user"
    assert [one.type for one in await said(client, made.id)] == [
        "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip


async def test_in_the_background_it_is_added_with_the_answer(client: AsyncOpenAI) -> None:
    made, asked = await client.conversations.create(), fresh()
    one = await client.responses.create(model="late", input=asked, background=True, conversation=made.id)
    assert one.conversation is not None and one.conversation.id == made.id
    async with asyncio.timeout(30):
        while one.status in ("queued", "in_progress"):
            await asyncio.sleep(0.1)
            one = await client.responses.retrieve(one.id)
    assert [text(item) for item in await said(client, made.id)] == [asked, f"You said: {asked}"]


async def test_of_a_response_that_is_not_kept_the_turn_is(client: AsyncOpenAI) -> None:
    made, asked = await client.conversations.create(), fresh()
    one = await client.responses.create(model="echo", input=asked, store=False, conversation=made.id)
    assert one.to_dict()["store"] is False and one.conversation is not None
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(one.id)
    assert [text(item) for item in await said(client, made.id)] == [asked, f"You said: {asked}"]


async def test_a_conversation_that_outgrows_its_model_is_shortened_where_that_is_asked(
    client: AsyncOpenAI, mesh: Mesh
) -> None:
    turns: Any = [
        {"role": "user" if n % 2 else "assistant", "content": f"Of bridge {n} it is said that " + "it was closed. " * 40}
        for n in range(40)
    ]  # fmt: skip
    made, asked = await client.conversations.create(items=turns), fresh("What of bridge 7?")
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model="narrow", input=asked, conversation=made.id)
    assert refused.value.code == "no_model_can_serve"
    raw = await client.responses.with_raw_response.create(
        model="narrow", input=asked, conversation=made.id, truncation="auto"
    )
    assert int(raw.headers["x-tollway-tokens-left-out"]) > 3000 and raw.parse().truncation == "auto"
    sent_on = spoken(mesh.provider.asked("narrow")[-1])
    assert sent_on[-1] == ("user", asked) and sum(len(text) for _, text in sent_on) < 6000
    assert len(await said(client, made.id)) == 42, "what is kept is whole"


async def test_what_was_masked_stays_masked_and_comes_back(client: AsyncOpenAI, mesh: Mesh) -> None:
    made, address = await client.conversations.create(), f"{fresh('a').replace(' ', '')}@example.com"
    first = await client.responses.create(model="echo", input=f"I am {address}", conversation=made.id)
    assert address in first.output_text
    await client.responses.create(model="echo", input=f"Write to {address}", conversation=made.id)
    asked = [content for _, content in spoken(mesh.provider.asked("echo")[-1])]
    placeholder = asked[0].removeprefix("I am ")
    assert address not in str(asked)
    assert asked == [f"I am {placeholder}", f"You said: I am {placeholder}", f"Write to {placeholder}"]


async def test_nobody_goes_on_from_anothers_conversation(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.conversations.create()
    other = mesh.new_key("globex/app")
    for name in (made.id, UNKNOWN, "conv_1"):
        key = other if name == made.id else mesh.key
        body = {"model": "echo", "input": "x", "conversation": name}
        refused = await sent(mesh, body, path="/v1/responses", key=key)
        assert refused.status == 404 and refused.json["error"]["param"] == "conversation"
        refused = await sent(mesh, path=f"/v1/conversations/{name}", method="GET", key=key)
        assert refused.status == 404 and refused.json["error"]["param"] == "conversation_id"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/conversations", {"items": [{"type": "message", "role": "nobody", "content": "x"}]}, "items[0].role"),
        ("/v1/conversations", {"items": [{"type": "item_reference", "id": "msg_1"}]}, "items[0].id"),
        ("/v1/conversations", {"metadata": {"a": 1}}, "metadata[...]"),
        ("/v1/conversations", {"topic": "x"}, "topic"),
        ("/v1/conversations/NAME", {}, "metadata"),
        ("/v1/conversations/NAME/items", {"items": []}, "items"),
        ("/v1/responses", {"model": "echo", "input": "x", "conversation": {"name": "x"}}, "conversation.id"),
        (
            "/v1/responses",
            {"model": "echo", "input": "x", "conversation": "NAME", "previous_response_id": "resp_1"},
            "previous_response_id",
        ),
    ],
)
async def test_what_is_wrong_is_named(
    client: AsyncOpenAI, mesh: Mesh, path: str, body: dict[str, Any], param: str
) -> None:
    made = await client.conversations.create()
    refused = await sent(mesh, body, path=path.replace("NAME", made.id))
    assert (refused.status, refused.json["error"]["param"]) == (400, param)
