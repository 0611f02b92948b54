"""Searches of the web that a provider makes, asked for over each of the three wires through the official SDKs: guarded, cited and paid for."""

from typing import Any
from uuid import uuid4

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, BadRequestError

from tests.mesh.running import Mesh
from tests.peers.claude import AFTER, BEFORE, PAGE

TOOL: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "blocked_domains": ["spam.example"],
             "user_location": {"type": "approximate", "city": "Bergen", "country": "NO"}}  # fmt: skip


def fresh() -> str:
    return f"ask {uuid4().hex}@example.com"


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_a_message_with_what_was_searched_and_found(claude: AsyncAnthropic, mesh: Mesh) -> None:
    text = fresh()
    made: Any = await claude.messages.create(model="seeker", max_tokens=50, messages=said(text), tools=[TOOL])
    search, found, before, cited, after = made.content
    assert (search.type, found.type, before.type, cited.type, after.type) == (
        "server_tool_use", "web_search_tool_result", "text", "text", "text",
    )  # fmt: skip
    assert search.input == {"query": f"toll {text}"} and found.tool_use_id == search.id == "srvtoolu_1"
    assert isinstance(found.content, list)
    assert [(one.url, one.title, one.page_age) for one in found.content] == [(PAGE["url"], "Prices", "2 days")]
    assert (before.text, cited.text, after.text) == (BEFORE, f"You said: {text}", AFTER)
    assert cited.citations is not None and cited.citations[0].cited_text == "nine crowns" and before.citations is None
    assert made.usage.server_tool_use is not None and made.usage.server_tool_use.web_search_requests == 1
    asked = mesh.provider.asked("seeker")[-1]
    assert text not in str(asked) and "[EMAIL_1]" in str(asked["messages"])
    assert asked["tools"] == [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "blocked_domains": ["spam.example"],
         "user_location": {"type": "approximate", "city": "Bergen", "country": "NO"}}
    ]  # fmt: skip


async def test_a_message_that_streams(claude: AsyncAnthropic) -> None:
    text = fresh()
    async with claude.messages.stream(model="seeker", max_tokens=50, messages=said(text), tools=[TOOL]) as stream:
        made: Any = await stream.get_final_message()
    kinds = [one.type for one in made.content]
    assert kinds == ["text", "server_tool_use", "web_search_tool_result", "text", "text"]
    words = "".join(one.text for one in made.content if one.type == "text")
    assert words == f"{BEFORE}You said: {text}{AFTER}"
    search, cited = made.content[1], made.content[3]
    assert search.type == "server_tool_use" and search.input == {"query": f"toll {text}"}
    assert cited.type == "text" and cited.citations is not None and cited.citations[0].url == PAGE["url"]


async def test_what_was_found_is_handed_in_again(claude: AsyncAnthropic, mesh: Mesh) -> None:
    text = fresh()
    made: Any = await claude.messages.create(model="seeker", max_tokens=50, messages=said(text), tools=[TOOL])
    turns = [*said(text), {"role": "assistant", "content": [one.model_dump() for one in made.content]}, *said("go on")]
    again: Any = await claude.messages.create(model="seeker", max_tokens=50, messages=turns)
    assert [one.type for one in again.content] == ["text"]
    assert "server_tool_use" not in str(mesh.provider.asked("seeker")[-1])


async def test_a_search_that_fails_says_why(claude: AsyncAnthropic) -> None:
    made: Any = await claude.messages.create(
        model="seeker", max_tokens=50, messages=said(f"twice {uuid4().hex}"), tools=[TOOL]
    )
    found = made.content[1]
    assert found.type == "web_search_tool_result" and not isinstance(found.content, list)
    assert found.content.error_code == "max_uses_exceeded"


async def test_a_completion_tells_what_it_rests_on_where_that_stands(client: AsyncOpenAI) -> None:
    text = fresh()
    made: Any = await client.chat.completions.create(
        model="seeker", messages=said(text),
        web_search_options={"user_location": {"type": "approximate", "approximate": {"city": "Bergen"}}},
    )  # fmt: skip
    message = made.choices[0].message
    assert message.content == f"{BEFORE}You said: {text}{AFTER}" and message.annotations is not None
    (cited,) = [one.url_citation for one in message.annotations]
    assert message.content[cited.start_index : cited.end_index] == f"You said: {text}"
    assert (cited.url, cited.title) == (PAGE["url"], "Prices")


async def test_a_completion_that_streams(client: AsyncOpenAI) -> None:
    text, words, cited = fresh(), "", list[Any]()
    stream = await client.chat.completions.create(
        model="seeker", messages=said(text), web_search_options={}, stream=True
    )
    async for chunk in stream:
        for one in chunk.choices:
            words += one.delta.content or ""
            cited += getattr(one.delta, "annotations", None) or []
    assert words == f"{BEFORE}You said: {text}{AFTER}"
    (one,) = cited
    assert words[one["url_citation"]["start_index"] : one["url_citation"]["end_index"]] == f"You said: {text}"


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview"])
async def test_a_response(client: AsyncOpenAI, mesh: Mesh, kind: Any) -> None:
    text = fresh()
    made: Any = await client.responses.create(
        model="seeker", input=text, tools=[{"type": kind}], max_tool_calls=3, store=True
    )
    search, message = made.output
    assert search.type == "web_search_call" and search.status == "completed"
    assert search.action.type == "search" and search.action.query == f"toll {text}"
    assert message.type == "message" and message.content[0].type == "output_text"
    (cited,) = message.content[0].annotations
    assert cited.type == "url_citation" and made.output_text[cited.start_index : cited.end_index] == f"You said: {text}"
    assert mesh.provider.asked("seeker")[-1]["tools"][0]["max_uses"] == 3
    again: Any = await client.responses.create(model="seeker", input="go on", previous_response_id=made.id)
    assert "You said: " in again.output_text
    named: Any = [{"type": "item_reference", "id": search.id}, {"role": "user", "content": "and on"}]
    assert "and on" in (await client.responses.create(model="seeker", input=named)).output_text


async def test_a_response_that_streams(client: AsyncOpenAI) -> None:
    text = fresh()
    seen = list[str]()
    async with client.responses.stream(model="seeker", input=text, tools=[{"type": "web_search"}]) as stream:
        async for event in stream:
            seen.append(event.type)
        made: Any = await stream.get_final_response()
    assert seen.count("response.web_search_call.completed") == 1 and "response.output_text.annotation.added" in seen
    assert made.output_text == f"{BEFORE}You said: {text}{AFTER}"
    cited = [one for item in made.output if item.type == "message" for part in item.content for one in part.annotations]
    assert [made.output_text[one.start_index : one.end_index] for one in cited] == [f"You said: {text}"]


async def test_a_search_is_paid_for_and_its_answer_is_not_kept(client: AsyncOpenAI, mesh: Mesh) -> None:
    text, key = fresh(), mesh.new_key(f"searching-{uuid4().hex[:8]}")
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=key, max_retries=0) as client:
        for _ in range(2):
            raw = await client.chat.completions.with_raw_response.create(
                model="seeker", messages=said(text), web_search_options={}, max_tokens=50
            )
            assert raw.headers["x-tollway-cache"] == "miss"
        # five searches, and what they find, are held for
        assert float(raw.headers["x-tollway-cost-max"]) > 5 * (0.01 + 32_768 * 1e-6)
        stream = await client.chat.completions.create(
            model="seeker",
            messages=said(text),
            web_search_options={},
            stream=True,
            stream_options={"include_usage": True},
        )
        last = [chunk async for chunk in stream][-1]
    assert last.usage is not None and last.usage.prompt_tokens == 40
    assert last.usage.model_dump()["cost_usd"] == pytest.approx(0.01 + 40e-6 + 10e-6)


def test_a_question_on_the_command_line(mesh: Mesh) -> None:
    said = mesh.tollway("ask", "--web", "--model=seeker", "What is the toll?")
    assert said.returncode == 0 and said.stdout == f"{BEFORE}You said: What is the toll?{AFTER}\n", said.stderr
    assert f"1. Prices {PAGE['url']}" in said.stderr


async def test_a_model_that_does_not_search_is_not_asked(client: AsyncOpenAI, mesh: Mesh) -> None:
    before = len(mesh.provider.asked("echo"))
    with pytest.raises(BadRequestError) as refused:
        await client.chat.completions.create(model="echo", messages=said(fresh()), web_search_options={})
    assert "does not search the web" in str(refused.value) and len(mesh.provider.asked("echo")) == before


async def test_tools_of_other_kinds_are_refused_by_their_place(claude: AsyncAnthropic, client: AsyncOpenAI) -> None:
    bad: Any = [{"type": "computer_20250124", "name": "computer"}]
    half: Any = [{"name": "own"}]
    other: Any = [{"type": "file_search"}]
    with pytest.raises(Exception, match=r"tools\[0\].type"):
        await claude.messages.create(model="echo", max_tokens=5, messages=said("hi"), tools=bad)
    with pytest.raises(Exception, match=r"tools\[0\].input_schema"):
        await claude.messages.create(model="echo", max_tokens=5, messages=said("hi"), tools=half)
    with pytest.raises(Exception, match="tools"):
        await client.responses.create(model="echo", input="hi", tools=other)
