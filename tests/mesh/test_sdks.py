"""The official SDKs, unchanged, pointed at the edge."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.mesh.running import Mesh
from tests.peers.provider import SIGNATURE

MODULES = Path(__file__).parents[2] / ".tools" / "node_modules"


async def test_python_asks_and_streams(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hi"}])
    assert made.choices[0].message.content == "You said: hi"
    stream = await client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "streamed, please"}], stream=True, stream_options={"include_usage": True}
    )  # fmt: skip
    chunks = [chunk async for chunk in stream]
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "You said: streamed, please"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 5


async def test_python_calls_tools_and_gives_their_results(client: AsyncOpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    async with client.chat.completions.stream(
        model="tools", messages=[{"role": "user", "content": "find"}], tools=tools  # type: ignore[arg-type]
    ) as stream:  # fmt: skip
        made = await stream.get_final_completion()
    call = made.choices[0].message.tool_calls
    assert call is not None and json.loads(call[0].function.arguments) == {"text": "find"}
    done = await client.chat.completions.create(
        model="tools",
        tools=tools,  # type: ignore[arg-type]
        messages=[
            {"role": "user", "content": "find"},
            {"role": "assistant", "tool_calls": [{"id": call[0].id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": call[0].id, "content": "found"},
        ],
    )  # fmt: skip
    assert done.choices[0].message.content == "You said: found"


async def test_what_a_provider_wants_back_with_a_call_is_told_on_every_path(client: AsyncOpenAI, mesh: Mesh) -> None:
    function = {"name": "look", "parameters": {"type": "object"}}
    asked: Any = {"model": "tools", "tools": [{"type": "function", "function": function}]}
    extra = {"google": {"thought_signature": SIGNATURE}}
    said: Any = [{"role": "user", "content": "signed"}]
    made = await client.chat.completions.create(messages=said, **asked)
    message = made.choices[0].message
    assert message.tool_calls is not None and message.tool_calls[0].model_extra == {"extra_content": extra}
    done = await client.chat.completions.create(
        messages=[*said, message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": "call_1", "content": "ok"}],
        **asked,
    )  # fmt: skip
    assert done.choices[0].message.content == "You said: ok"
    assert "extra_content" not in str(mesh.provider.asked("tools")[-1]), "a model of somebody else's has no use for it"
    chunks = [one async for one in await client.chat.completions.create(messages=said, stream=True, **asked)]
    calls = [call for one in chunks for choice in one.choices for call in choice.delta.tool_calls or ()]
    assert [call.model_extra for call in calls if call.model_extra] == [{"extra_content": extra}]
    tool: Any = {"type": "function", **function}
    kept = await client.responses.create(model="tools", input="signed, kept", tools=[tool])
    assert kept.output[0].model_extra == {"extra_content": extra}
    (again,) = (await client.responses.retrieve(kept.id)).output
    assert again.model_extra == {"extra_content": extra}
    events = [
        one async for one in await client.responses.create(model="tools", input="signed", tools=[tool], stream=True)
    ]
    last: Any = events[-1]
    assert last.response.output[0].model_extra == {"extra_content": extra}


async def test_python_sees_typed_errors(client: AsyncOpenAI, mesh: Mesh) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x"}], temperature=7)
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("unheard-of")
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="busy", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.APIError) as cut:
        async for _ in await client.chat.completions.create(
            model="cut", messages=[{"role": "user", "content": "x"}], stream=True
        ):
            pass
    assert cut.value.code == "provider_broke"
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key="tw_wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_python_lists_embeds_and_asks_for_a_shape(client: AsyncOpenAI, mesh: Mesh) -> None:
    class Shape(BaseModel):
        name: str

    assert "echo" in [one.id async for one in await client.models.list()]
    embedded = await client.embeddings.create(model="minilm", input=["one", "two"])
    assert [len(one.embedding) for one in embedded.data] == [384, 384]
    with pytest.raises(Exception, match="JSON"):  # the peer answers no JSON, which the SDK then says
        await client.chat.completions.parse(
            model="echo", messages=[{"role": "user", "content": "x"}], response_format=Shape
        )
    assert mesh.provider.requests[-1]["response_format"]["json_schema"]["name"] == "Shape"


async def node(script: str, package: str, mesh: Mesh, folder: Path) -> dict[str, Any]:
    """What a script prints that talks to the mesh."""
    if not (MODULES / package).exists():
        pytest.skip(f"{package} is not installed: `make lint` brings it, with buf")
    (folder / "node_modules").symlink_to(MODULES)
    shutil.copy(Path(__file__).parent / script, folder)
    process = await asyncio.create_subprocess_exec(
        "node", str(folder / script), mesh.url, mesh.key, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    out, _ = await process.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
async def test_ai_sdk(mesh: Mesh, tmp_path: Path) -> None:
    said = await node("ai_sdk.mjs", "ai", mesh, tmp_path)
    assert said["whole"] == "You said: one of the AI SDK" and said["streamed"] == "You said: two of the AI SDK"
    turns = [(one["role"], one["content"]) for one in mesh.provider.asked("echo")[-1]["messages"]]
    assert turns == [
        ("user", "one of the AI SDK"), ("assistant", "You said: one of the AI SDK"), ("user", "two of the AI SDK"),
    ]  # fmt: skip
    assert said["called"].startswith("You said: ") and "look for the AI SDK" in said["called"]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
async def test_javascript(mesh: Mesh, tmp_path: Path) -> None:
    said = await node("sdk.mjs", "openai", mesh, tmp_path)
    assert said["whole"] == "You said: from JavaScript" and said["streamed"] == "You said: streamed to JavaScript"
    assert (
        json.loads(said["arguments"]) == {"text": "find it"} and "echo" in said["models"] and said["embedding"] == 256
    )
    assert said["conversation"] == ["first", "second", "You said: second"]
    assert said["refused"] == ["BadRequestError", 400, "invalid_value", "temperature"]
    assert said["busy"] == ["RateLimitError", 429]
