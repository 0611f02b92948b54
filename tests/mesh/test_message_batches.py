"""Anthropic's batches of messages through the official SDK: each request answered, refused, cancelled under its own name."""

import asyncio
from typing import Any
from uuid import uuid4

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.mesh.client import sent
from tests.mesh.running import Mesh

PATH = "/v1/messages/batches"


def asked(name: str, text: str, **more: Any) -> Any:
    params = {"model": "echo", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": name, "params": params}


async def over(claude: AsyncAnthropic, batch: Any) -> Any:
    async with asyncio.timeout(60):
        while batch.processing_status != "ended":
            await asyncio.sleep(0.1)
            batch = await claude.messages.batches.retrieve(batch.id)
    return batch


async def results(claude: AsyncAnthropic, batch: Any) -> dict[str, Any]:
    return {one.custom_id: one.result async for one in await claude.messages.batches.results(batch.id)}


async def test_a_batch_from_requests_to_answers(claude: AsyncAnthropic, mesh: Mesh) -> None:
    names = [f"r{n}" for n in range(60)]
    batch = await claude.messages.batches.create(requests=[asked(one, f"batched {one}@example.com") for one in names])
    assert batch.id.startswith("msgbatch_") and batch.processing_status in ("in_progress", "ended")
    assert (batch.expires_at - batch.created_at).total_seconds() == pytest.approx(86_400, abs=2)
    done = await over(claude, batch)
    counts = done.request_counts
    assert (counts.succeeded, counts.processing, counts.errored, counts.canceled, counts.expired) == (60, 0, 0, 0, 0)
    found = await results(claude, done)
    assert list(found) == names
    for name, one in found.items():
        assert one.type == "succeeded" and one.message.content[0].text == f"You said: batched {name}@example.com"
        assert one.message.usage.output_tokens > 0 and one.message.stop_reason == "end_turn"
    assert not any("batched r1@" in str(one) for one in mesh.provider.asked("echo"))


async def test_each_request_fails_by_itself(claude: AsyncAnthropic) -> None:
    batch = await claude.messages.batches.create(
        requests=[
            asked("good", "hello"),
            asked("hot", "x", temperature=9),
            asked("stranger", "x", model="gpt-99"),
            asked("piecemeal", "x", stream=True),
        ]
    )
    done = await over(claude, batch)
    assert (done.request_counts.succeeded, done.request_counts.errored) == (1, 3)
    found = await results(claude, done)
    told = {name: one.error.error.type for name, one in found.items() if one.type == "errored"}
    assert told == {
        "hot": "invalid_request_error",
        "stranger": "not_found_error",
        "piecemeal": "invalid_request_error",
    }
    assert "temperature" in found["hot"].error.error.message and found["good"].type == "succeeded"


async def test_what_was_not_asked_yet_is_cancelled(claude: AsyncAnthropic, mesh: Mesh) -> None:
    requests = [asked(f"r{n}", f"{uuid4().hex}", model="late") for n in range(200)]
    batch = await claude.messages.batches.create(requests=requests)
    early = await sent(mesh, path=f"{PATH}/{batch.id}/results", method="GET")
    assert early.status == 409 and early.code == "not_ended"
    stopped = await over(claude, await claude.messages.batches.cancel(batch.id))
    assert stopped.cancel_initiated_at is not None and stopped.request_counts.canceled > 0
    found = await results(claude, stopped)
    assert sum(one.type == "canceled" for one in found.values()) == stopped.request_counts.canceled


async def test_batches_are_listed_newest_first_and_deleted(claude: AsyncAnthropic) -> None:
    made = [await claude.messages.batches.create(requests=[asked("one", "hello")]) for _ in range(3)]
    first = await claude.messages.batches.list(limit=2)
    assert [one.id for one in first.data] == [made[2].id, made[1].id] and first.has_more
    after = await claude.messages.batches.list(limit=1, after_id=made[1].id)
    assert [one.id for one in after.data] == [made[0].id]
    gone = await claude.messages.batches.delete((await over(claude, made[0])).id)
    assert (gone.id, gone.type) == (made[0].id, "message_batch_deleted")
    with pytest.raises(anthropic.NotFoundError):
        await claude.messages.batches.retrieve(made[0].id)


async def test_a_batch_is_its_accounts_alone(claude: AsyncAnthropic, mesh: Mesh) -> None:
    batch = await claude.messages.batches.create(requests=[asked("one", "hello")])
    async with AsyncAnthropic(base_url=mesh.url, api_key=mesh.new_key("strangers/a"), max_retries=0) as other:
        with pytest.raises(anthropic.NotFoundError):
            await other.messages.batches.retrieve(batch.id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"requests": []}, "requests"),
        ({"requests": [asked("a b", "x")]}, "requests[0].custom_id"),
        ({"requests": [asked("a", "x"), asked("a", "y")]}, "requests[1].custom_id"),
        ({"requests": [{"custom_id": "a"}]}, "requests[0].params"),
        ({"requests": [asked("a", "x")], "window": 1}, "window"),
    ],
)
async def test_a_bad_batch_names_the_field(mesh: Mesh, body: Any, param: str) -> None:
    refused = await sent(mesh, body, path=PATH)
    assert refused.status == 400 and refused.json["error"]["param"] == param, refused.json
    assert refused.json["type"] == "error" and refused.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path", [f"{PATH}/msgbatch_1", f"{PATH}/msgbatch_{'0' * 32}", f"{PATH}/msgbatch_{'0' * 32}/more"]
)
async def test_a_batch_that_there_is_not(claude: AsyncAnthropic, path: str) -> None:
    with pytest.raises(anthropic.NotFoundError):
        await claude.get(path, cast_to=object)


async def test_pages_go_one_way(claude: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="before_id"):
        await claude.messages.batches.list(before_id=f"msgbatch_{'0' * 32}")
