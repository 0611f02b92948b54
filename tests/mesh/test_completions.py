"""OpenAI's older completions through the whole mesh: models that go on from a text, and models that can only chat."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.mesh.client import Answer, sent
from tests.mesh.running import Mesh


async def asked(mesh: Mesh, prompt: object = "A bridge", model: str = "story", **more: Any) -> Answer:
    return await sent(mesh, {"model": model, "prompt": prompt, **more}, path="/v1/completions")


async def test_the_sdk_asks_and_streams(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.completions.create(model="story", prompt="Once upon a bridge", max_tokens=9, stop=["."])
    assert (made.object, made.choices[0].text, made.choices[0].finish_reason) == (
        "text_completion",
        " and bridge",
        "length",
    )
    assert made.usage is not None and (made.usage.prompt_tokens, made.usage.completion_tokens) == (7, 3)
    (got,) = mesh.provider.asked("story")[-1:]
    assert got == {"model": "story", "prompt": "Once upon a bridge", "max_tokens": 9, "stop": ["."]}
    stream = await client.completions.create(
        model="story", prompt="Once upon a river", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == " and river"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "length"
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 10
    assert mesh.provider.asked("story")[-1]["max_tokens"] == 16


async def test_a_model_fills_in_between(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.completions.create(model="story", prompt="def toll():", suffix="return crowns")
    assert (
        made.choices[0].text == " and toll(): then " and mesh.provider.asked("story")[-1]["suffix"] == "return crowns"
    )
    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(model="echo", prompt="def toll():", suffix="return crowns")
    assert caught.value.code == "unsupported_by_model" and "fill in between two texts" in caught.value.message


async def test_several_texts_are_gone_on_from_each(client: AsyncOpenAI) -> None:
    made = await client.completions.create(model="story", prompt=["A ferry", "A mule", "A cart"])
    assert [(one.index, one.text) for one in made.choices] == [(0, " and ferry"), (1, " and mule"), (2, " and cart")]
    assert made.usage is not None and made.usage.total_tokens == 30


async def test_a_model_that_can_only_chat_reads_it_as_a_turn(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.completions.create(model="echo", prompt="Once upon a lock", max_tokens=9)
    assert (made.choices[0].text, made.choices[0].finish_reason) == ("You said: Once upon a lock", "stop")
    assert mesh.provider.asked("echo")[-1]["messages"] == [{"role": "user", "content": "Once upon a lock"}]


async def test_it_goes_the_whole_road(mesh: Mesh) -> None:
    text = "Write to ada@example.com"
    first = await asked(mesh, text, suffix="and to bob@example.com")
    assert first.status == 200 and first.headers["x-tollway-masked"] == "EMAIL"
    got = mesh.provider.asked("story")[-1]
    assert "example.com" not in got["prompt"] + got["suffix"]
    assert first.json["choices"][0]["text"] == " and ada@example.com then "
    assert float(first.headers["x-tollway-cost-max"]) > 0
    first = await asked(mesh, "Once upon a gate")
    async with asyncio.timeout(10):
        while (again := await asked(mesh, "Once upon a gate")).headers["x-tollway-cache"] != "exact":
            await asyncio.sleep(0.1)
    assert again.json["choices"] == first.json["choices"]


async def test_a_text_is_answered_by_no_answer_to_another(mesh: Mesh) -> None:
    """Not by one that means the same, and not by what was said in a chat."""
    asking = {"model": "echo", "messages": [{"role": "user", "content": "How long is the longest bridge?"}]}
    await sent(mesh, {**asking, "max_tokens": 16})
    for prompt in ("How long is the longest bridge?", "How long is the longest bridge, please?"):
        made = await asked(mesh, prompt, model="echo")
        assert made.headers["x-tollway-cache"] == "miss" and made.json["choices"][0]["text"] == f"You said: {prompt}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "logprobs": 5}, "logprobs"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt[0]"),
        ({"prompt": ["x", "y"], "stream": True}, "prompt"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({}, "prompt"),
    ],
)
async def test_what_is_not_told_is_refused_by_its_field(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    refused = await sent(mesh, {"model": "story", **body}, path="/v1/completions")
    assert refused.status == 400 and refused.json["error"]["param"] == param, refused.raw


async def test_one_refusal_is_the_answer_to_all(mesh: Mesh) -> None:
    refused = await asked(mesh, ["x", "y"], model="busy")
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
