"""Answers on whose way the mesh calls tools: asked for through the SDKs of OpenAI and Anthropic, whole and streamed."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh
from tests.mesh.test_tools import connected, text

EMAIL = "jane.miller@example.org"
BOX: Any = {"type": "mcp", "server_label": "box", "require_approval": "never", "allowed_tools": ["echo"]}


def fresh() -> str:
    """A word that nobody said before, and that no guard takes for a name or a number."""
    return f"toll-{uuid4().hex[:8]}"


def told(mesh: Mesh, mark: str) -> list[dict[str, Any]]:
    """What the provider was asked about `mark`."""
    return [one for one in mesh.provider.requests if mark in str(one)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_answered_after_a_call(mesh: Mesh, client: AsyncOpenAI, stream: bool) -> None:
    mark = fresh()
    asked: Any = {
        "model": "tools",
        "messages": [{"role": "user", "content": f"Ask {EMAIL} about {mark}"}],
        "tools": [BOX],
    }
    if stream:
        pieces = [one async for one in await client.chat.completions.create(**asked, stream=True)]
        said = "".join(one.choices[0].delta.content or "" for one in pieces if one.choices)
        assert [one.choices[0].finish_reason for one in pieces if one.choices and one.choices[0].finish_reason] == [
            "stop"
        ]
        assert not any(one.choices[0].delta.tool_calls for one in pieces if one.choices)
    else:
        made = await client.chat.completions.create(**asked)
        said, finish = made.choices[0].message.content or "", made.choices[0].finish_reason
        assert finish == "stop" and not made.choices[0].message.tool_calls
        assert made.usage and made.usage.prompt_tokens >= 20, "both rounds"
    assert said == f"You said: Heard: Ask {EMAIL} about {mark}"
    first, second = told(mesh, mark)
    assert EMAIL not in str((first, second)) and "[EMAIL_1]" in str(first)
    assert [one["function"]["name"] for one in first["tools"]] == ["box__echo"]
    assert [one["role"] for one in second["messages"]] == ["user", "assistant", "tool"]
    async with connected(mesh) as other:
        seen = await text(other, "own__calls", mark=mark)
        assert EMAIL not in seen and "[EMAIL_1]" in seen, "the tool's server is a stranger, too"


async def test_a_response_shows_what_was_called(mesh: Mesh, client: AsyncOpenAI) -> None:
    mark = fresh()
    made = await client.responses.create(model="tools", input=f"about {mark}", tools=[BOX], max_tool_calls=4)
    call, message = made.output
    assert call.type == "mcp_call" and (call.server_label, call.name, call.status) == ("box", "echo", "completed")
    assert call.output == f"Heard: about {mark}" and call.error is None and mark in call.arguments
    assert message.type == "message" and made.output_text == f"You said: Heard: about {mark}"
    (shown,) = made.tools
    assert shown.type == "mcp" and shown.server_label == "box" and made.max_tool_calls == 4
    again = await client.responses.create(model="echo", input="and now?", previous_response_id=made.id)
    assert again.output_text == "You said: and now?"
    history = told(mesh, mark)[-1]["messages"]
    assert [one["role"] for one in history] == ["user", "assistant", "tool", "assistant", "user"]
    assert history[1]["tool_calls"][0]["function"]["name"] == "box__echo"


async def test_a_streamed_response_tells_of_each_call(mesh: Mesh, client: AsyncOpenAI) -> None:
    mark = fresh()
    stream = await client.responses.create(model="tools", input=f"about {mark}", tools=[BOX], stream=True)
    events: list[Any] = [one async for one in stream]
    kinds = [one.type for one in events]
    begun = kinds.index("response.mcp_call.in_progress")
    assert kinds[begun - 2 : begun + 3] == [
        "response.output_item.added",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "response.output_item.done",
    ]
    done = events[-1]
    assert done.type == "response.completed" and [one.type for one in done.response.output] == ["mcp_call", "message"]
    assert done.response.output_text == f"You said: Heard: about {mark}"
    handed: Any = [*(one.to_dict() for one in done.response.output), {"role": "user", "content": "and now?"}]
    await client.responses.create(model="echo", input=handed, store=False)
    assert [one["role"] for one in told(mesh, mark)[-1]["messages"]] == ["assistant", "tool", "assistant", "user"]


async def test_any_wire_may_ask_for_it(mesh: Mesh, claude: AsyncAnthropic) -> None:
    use = {"tools": {"servers": ["box"], "tools": ["box__echo"], "most_calls": 2}}
    made = await claude.messages.create(
        model="tools",
        max_tokens=100,
        messages=[{"role": "user", "content": "hello there"}],
        extra_body={"tollway": use},
    )
    assert [one.type for one in made.content] == ["mcp_tool_use", "mcp_tool_result", "text"]
    assert made.content[-1].type == "text" and made.content[-1].text == "You said: Heard: hello there"
    assert made.stop_reason == "end_turn"


TOOLBOX: Any = {"type": "url", "name": "box", "url": "tollway/box"}
ECHO: Any = {
    "type": "mcp_toolset",
    "mcp_server_name": "box",
    "default_config": {"enabled": False},
    "configs": {"echo": {"enabled": True}, "add": {"enabled": False}},
}


@pytest.mark.parametrize(
    "servers", [[TOOLBOX], [{**TOOLBOX, "tool_configuration": {"allowed_tools": ["echo"]}}, {**TOOLBOX, "name": "own", "tool_configuration": {"enabled": False}}]]
)  # fmt: skip
async def test_anthropics_own_words_for_it(mesh: Mesh, claude: AsyncAnthropic, servers: Any) -> None:
    mark = fresh()
    asked: Any = {"model": "tools", "max_tokens": 100, "mcp_servers": servers, "betas": ["mcp-client-2025-11-20"]}
    question: Any = {"role": "user", "content": f"about {mark}"}
    tools = [ECHO] if len(servers) == 1 else []
    made = await claude.beta.messages.create(messages=[question], tools=tools, **asked)
    use, result, said = made.content
    assert use.type == "mcp_tool_use" and (use.server_name, use.name) == ("box", "echo") and mark in str(use.input)
    assert result.type == "mcp_tool_result" and (result.tool_use_id, result.is_error) == (use.id, False)
    assert result.content[0].text == f"Heard: about {mark}"
    assert said.type == "text" and said.text == f"You said: Heard: about {mark}"
    assert [one["function"]["name"] for one in told(mesh, mark)[0]["tools"]] == ["box__echo"]
    turns: Any = [
        question,
        {"role": "assistant", "content": [one.to_dict() for one in made.content]},
        {"role": "user", "content": "and now?"},
    ]
    again = await claude.messages.create(model="echo", max_tokens=100, messages=turns)
    assert again.content[0].type == "text" and again.content[0].text == "You said: and now?"
    assert [one["role"] for one in told(mesh, mark)[-1]["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


async def test_a_streamed_message_tells_of_each_call(claude: AsyncAnthropic) -> None:
    asked: Any = {
        "model": "tools",
        "max_tokens": 100,
        "mcp_servers": [TOOLBOX],
        "tools": [ECHO],
        "betas": ["mcp-client-2025-11-20"],
    }
    async with claude.beta.messages.stream(messages=[{"role": "user", "content": "hello"}], **asked) as stream:
        kinds = [one.content_block.type async for one in stream if one.type == "content_block_start"]
        made = await stream.get_final_message()
    assert kinds == [one.type for one in made.content] == ["mcp_tool_use", "mcp_tool_result", "text"]
    assert made.content[0].type == "mcp_tool_use" and made.content[0].input == {"text": "hello"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"mcp_servers": [{**TOOLBOX, "url": "https://evil.example/mcp"}]}, "mcp_servers[0].url"),
        ({"mcp_servers": [{**TOOLBOX, "authorization_token": "x"}]}, "mcp_servers[0].authorization_token"),
        ({"mcp_servers": [{"type": "url", "name": "box"}]}, "mcp_servers[0].url"),
        ({"tools": [{**ECHO, "default_config": None}]}, "tools[0].configs"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"messages": [{"role": "assistant", "content": [{"type": "mcp_tool_result", "tool_use_id": "x"}]}]}, "messages[0].content[0].tool_use_id"),
    ],
)  # fmt: skip
async def test_what_anthropics_words_cannot_say_is_named(mesh: Mesh, change: dict[str, Any], param: str) -> None:
    body = {**asking("hi", "tools"), "max_tokens": 9, "mcp_servers": [TOOLBOX], "tools": [ECHO], **change}
    answer = await sent(mesh, body, path="/v1/messages")
    assert answer.status == 400 and answer.json["error"]["param"] == param, answer.json


@pytest.mark.parametrize("url", ["litellm_proxy", "litellm_proxy/mcp/box", "tollway/box,own"])
async def test_servers_by_the_addresses_that_others_give_them(client: AsyncOpenAI, url: str) -> None:
    tool: Any = {
        "type": "mcp",
        "server_label": "x",
        "server_url": url,
        "require_approval": "never",
        "allowed_tools": ["box__echo"],
    }
    made = await client.chat.completions.create(
        model="tools", messages=[{"role": "user", "content": "hi"}], tools=[tool]
    )
    assert made.choices[0].message.content == "You said: Heard: hi"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"require_approval": "always"}, "tools[1].require_approval"),
        ({"require_approval": None}, "tools[1].require_approval"),
        ({"server_url": "https://evil.example/mcp"}, "tools[1].server_url"),
        ({"headers": {"a": "b"}}, "tools[1].headers"),
        ({"authorization": "x"}, "tools[1].authorization"),
        ({"server_label": None}, "tools[1].server_label"),
        ({"type": "function"}, "tools[1].function"),
    ],
)
async def test_what_cannot_be_done_is_named(mesh: Mesh, change: dict[str, Any], param: str) -> None:
    own = {"type": "function", "function": {"name": "mine"}}
    answer = await sent(mesh, asking("hi", "tools", tools=[own, {**BOX, **change}]))
    assert answer.status == 400 and answer.json["error"]["param"] == param, answer.json


async def test_a_server_that_there_is_not(client: AsyncOpenAI) -> None:
    tool: Any = {**BOX, "server_label": "nobody"}
    with pytest.raises(NotFoundError, match="no tool of these servers may be called: nobody"):
        await client.chat.completions.create(model="tools", messages=[{"role": "user", "content": "hi"}], tools=[tool])
    with pytest.raises(BadRequestError, match="n must be 1"):
        await client.chat.completions.create(
            model="tools", messages=[{"role": "user", "content": "hi"}], tools=[BOX], n=2
        )


async def test_the_command_asks_with_tools(mesh: Mesh) -> None:
    """The peer calls the first tool with the wrong arguments, and is told so."""
    made = await asyncio.to_thread(mesh.tollway, "ask", "hello", "--model=tools", "--tools=box")
    assert made.stdout.startswith("You said: the arguments of box__add: arguments: "), made.stderr
