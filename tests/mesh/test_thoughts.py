"""What a Claude thought comes back to it, unchanged and masked, with the results of the tools that it called, on every path."""

from typing import Any
from uuid import uuid4

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.mesh.running import Mesh
from tests.peers.claude import SIGNATURE

TOOL: Any = {"name": "look", "input_schema": {"type": "object"}}
FUNCTION: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}


def thoughts(mesh: Mesh) -> list[dict[str, Any]]:
    """Those that were handed to the model last, before its call."""
    *_, turn, _ = mesh.provider.asked("seeker")[-1]["messages"]
    *said, call = turn["content"]
    assert (turn["role"], call["type"]) == ("assistant", "tool_use")
    return list(said)


def wanted() -> list[dict[str, Any]]:
    return [
        {"type": "thinking", "thinking": "They said: ask [EMAIL_1]", "signature": SIGNATURE},
        {"type": "redacted_thinking", "data": SIGNATURE},
    ]


@pytest.mark.parametrize("streamed", (False, True))
async def test_over_anthropics_wire(claude: AsyncAnthropic, mesh: Mesh, streamed: bool) -> None:
    text = f"ask {uuid4().hex}@example.com"
    asked: Any = {"model": "seeker", "max_tokens": 50, "tools": [TOOL]}
    said: list[Any] = [{"role": "user", "content": text}]
    if streamed:
        async with claude.messages.stream(messages=said, **asked) as stream:
            made: Any = await stream.get_final_message()
    else:
        made = await claude.messages.create(messages=said, **asked)
    first, more, call = made.content
    assert (first.type, first.thinking) == ("thinking", f"They said: {text}") and call.type == "tool_use"
    assert SIGNATURE not in first.signature and first.signature != more.signature
    turns: Any = [*said, {"role": "assistant", "content": made.content}, {"role": "user", "content": [RESULT]}]
    await claude.messages.create(messages=turns, **asked)
    assert thoughts(mesh) == wanted()
    first.signature = f"{first.signature[:-4]}AAAA"
    turns[-1] = {"role": "user", "content": [{**RESULT, "content": "again"}]}
    await claude.messages.create(messages=turns, **asked)
    assert thoughts(mesh) == wanted()[1:], "what was altered is passed over"


@pytest.mark.parametrize("streamed", (False, True))
async def test_over_openais_wire(client: AsyncOpenAI, mesh: Mesh, streamed: bool) -> None:
    text = f"ask {uuid4().hex}@example.com"
    asked: Any = {"model": "seeker", "tools": [FUNCTION]}
    said: list[Any] = [{"role": "user", "content": text}]
    if streamed:
        blocks, reasoning = list[Any](), ""
        async for chunk in await client.chat.completions.create(messages=said, stream=True, **asked):
            for choice in chunk.choices:
                more: Any = choice.delta.model_extra
                blocks += more.get("thinking_blocks", ())
                reasoning += more.get("reasoning_content", "")
        call = {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        message: dict[str, Any] = {"role": "assistant", "tool_calls": [call], "thinking_blocks": blocks}
    else:
        made = await client.chat.completions.create(messages=said, **asked)
        message = made.choices[0].message.model_dump(exclude_none=True)
        reasoning = message["reasoning_content"]
    assert reasoning == f"They said: {text}"
    turns: Any = [*said, message, {"role": "tool", "tool_call_id": "toolu_1", "content": "seen"}]
    await client.chat.completions.create(messages=turns, **asked)
    assert thoughts(mesh) == wanted()


async def test_those_of_another_tenant_are_passed_over(claude: AsyncAnthropic, mesh: Mesh) -> None:
    asked: Any = {"model": "seeker", "max_tokens": 50, "tools": [TOOL]}
    said: list[Any] = [{"role": "user", "content": f"ask {uuid4().hex}@example.com"}]
    made = await claude.messages.create(messages=said, **asked)
    turns: Any = [*said, {"role": "assistant", "content": made.content}, {"role": "user", "content": [RESULT]}]
    async with AsyncAnthropic(base_url=mesh.url, api_key=mesh.new_key("thieves/app"), max_retries=0) as other:
        await other.messages.create(messages=turns, **asked)
    assert thoughts(mesh) == []
