"""Every answer keeps the schema that its SDK publishes: objects are held against it, which the SDKs themselves do not do. Moderations are
left out: their categories are the provider's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

TOOL: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
FUNCTION: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
USE: Any = {"name": "look", "input_schema": {"type": "object"}}


def fits(made: Any) -> None:
    """Against its own type, every field of it, and of what is in it."""
    type(made).model_validate(made.to_dict(mode="json"))


def fresh(text: str = "hello") -> str:
    return f"{text} {uuid4().hex}"


async def chats(client: AsyncOpenAI) -> AsyncIterator[Any]:
    asked: Any = [{"role": "user", "content": fresh()}]
    yield await client.chat.completions.create(model="echo", messages=asked)
    yield await client.chat.completions.create(model="tools", messages=asked, tools=[FUNCTION])
    stream = await client.chat.completions.create(
        model="echo", messages=asked, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        yield chunk
    yield await client.completions.create(model="echo", prompt=fresh())


async def responses(client: AsyncOpenAI) -> AsyncIterator[Any]:
    yield (made := await client.responses.create(model="echo", input=fresh(), instructions="Be brief."))
    yield await client.responses.retrieve(made.id)
    for one in (await client.responses.input_items.list(made.id)).data:
        yield one
    yield await client.responses.create(model="tools", input=fresh(), tools=[TOOL])
    for model in ("echo", "tools"):
        async for event in await client.responses.create(model=model, input=fresh(), tools=[TOOL], stream=True):
            yield event
    yield (later := await client.responses.create(model="echo", input=fresh(), background=True))
    async with asyncio.timeout(30):
        while later.status in ("queued", "in_progress"):
            await asyncio.sleep(0.1)
            yield (later := await client.responses.retrieve(later.id))


async def conversations(client: AsyncOpenAI) -> AsyncIterator[Any]:
    said: Any = [
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "seen"},
    ]  # fmt: skip
    yield (made := await client.conversations.create(items=said))
    yield await client.conversations.retrieve(made.id)
    yield await client.conversations.items.create(made.id, items=said)
    for one in (await client.conversations.items.list(made.id)).data:
        yield one
    yield await client.conversations.update(made.id, metadata={"a": "b"})
    yield await client.conversations.delete(made.id)


async def files(client: AsyncOpenAI) -> AsyncIterator[Any]:
    yield (made := await client.files.create(file=("toll.md", b"The toll is nine crowns."), purpose="assistants"))
    yield await client.files.retrieve(made.id)
    yield (store := await client.vector_stores.create(name="Roads", file_ids=[made.id]))
    yield await client.vector_stores.retrieve(store.id)
    yield await client.vector_stores.files.create(store.id, file_id=made.id)
    for one in (await client.vector_stores.files.list(store.id)).data:
        yield one
    yield await client.vector_stores.file_batches.create(store.id, file_ids=[made.id])
    for found in (await client.vector_stores.search(store.id, query="toll")).data:
        yield found
    search: Any = {"type": "file_search", "vector_store_ids": [store.id]}
    yield await client.responses.create(
        model="echo", input=fresh("toll"), tools=[search], include=["file_search_call.results"]
    )
    yield await client.vector_stores.delete(store.id)
    yield await client.files.delete(made.id)


async def batches(client: AsyncOpenAI) -> AsyncIterator[Any]:
    line = b'{"custom_id": "a", "url": "/v1/embeddings", "body": {"model": "static", "input": "x"}}'
    kept = await client.files.create(file=("asked.jsonl", line), purpose="batch")
    made = await client.batches.create(input_file_id=kept.id, endpoint="/v1/embeddings", completion_window="24h")
    yield made
    yield await client.batches.retrieve(made.id)


async def others(client: AsyncOpenAI) -> AsyncIterator[Any]:
    yield await client.embeddings.create(model="static", input=["a", "b"], encoding_format="float")
    yield await client.images.generate(model="painter", prompt=fresh("a bridge"))
    yield await client.audio.transcriptions.create(model="scribe", file=("a.wav", b"RIFF"))
    yield await client.models.retrieve("echo")
    for one in (await client.models.list()).data:
        yield one


@pytest.mark.parametrize("asked", [chats, responses, conversations, files, batches, others])
async def test_of_openai(client: AsyncOpenAI, asked: Callable[[AsyncOpenAI], AsyncIterator[Any]]) -> None:
    async for made in asked(client):
        fits(made)


async def test_of_anthropic(claude: AsyncAnthropic) -> None:
    more: Any = {"max_tokens": 50, "messages": [{"role": "user", "content": fresh()}]}
    fits(await claude.messages.create(model="echo", **more))
    fits(await claude.messages.create(model="tools", tools=[USE], **more))
    async for event in await claude.messages.create(model="echo", stream=True, **more):
        fits(event)
    fits(await claude.messages.count_tokens(model="echo", messages=more["messages"]))
    lines: Any = [{"custom_id": "a", "params": {"model": "echo", **more}}]
    batch = await claude.messages.batches.create(requests=lines)
    fits(batch)
    fits(await claude.messages.batches.retrieve(batch.id))
