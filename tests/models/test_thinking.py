"""How hard a model is asked to think, by its name; and what a provider hears of an end user."""

from hashlib import sha256
from typing import Any

import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.models.catalogue import Entry
from services.models.wires import anthropic, openai_request, responses_request
from services.models.wires.adapter import Target
from services.models.wires.thinking import version


def said(role: "chat.Role.ValueType", text: str = "x", **more: Any) -> chat.Message:
    return chat.Message(role=role, parts=[chat.ContentPart(text=text)], **more)


CALL = chat.ToolCall(id="c", name="look", arguments="{}")
ASKED = [said(chat.ROLE_USER)]
LOOKED = [*ASKED, chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=[CALL]), said(chat.ROLE_TOOL, tool_call_id="c")]


def body(model: str, effort: str = "high", messages: list[chat.Message] = ASKED, **more: Any) -> dict[str, Any]:
    entry = Entry(model, wire="anthropic", base_url="http://x", max_output_tokens=64_000)
    request = chat.ChatRequest(messages=messages, reasoning_effort=effort, **more)
    return anthropic.written(Target("m", entry, entry.places[0]), request, stream=False)


@pytest.mark.parametrize(
    ("model", "of"),
    [
        ("claude-3-haiku-20240307", (3, 0)), ("claude-3-7-sonnet-20250219", (3, 7)), ("claude-opus-4-20250514", (4, 0)),
        ("claude-opus-4@20250514", (4, 0)), ("claude-sonnet-4-5-20250929", (4, 5)), ("claude-opus-5", (5, 0)),
        ("anthropic.claude-opus-4-6-v1", (4, 6)), ("claude-haiku-5.5", (5, 5)), ("claude-latest", None), ("other", None),
    ],
)  # fmt: skip
def test_a_name_tells_its_version(model: str, of: tuple[int, int] | None) -> None:
    assert version(model) == of


@pytest.mark.parametrize(
    ("model", "effort", "budget"),
    [
        ("claude-opus-5-5", "high", None), ("claude-sonnet-4-6", "high", None), ("claude-opus-4-5-20251101", "high", None),
        ("claude-latest", "high", None), ("claude-haiku-4-5-20251001", None, 24_576), ("claude-opus-4-20250514", None, 24_576),
        ("claude-3-7-sonnet-20250219", None, 24_576), ("claude-3-5-haiku-20241022", None, None),
    ],
)  # fmt: skip
def test_it_is_told_in_the_way_that_it_knows(model: str, effort: str | None, budget: int | None) -> None:
    made = body(model)
    assert made.get("output_config", {}).get("effort") == effort
    assert made.get("thinking") == ({"type": "enabled", "budget_tokens": budget} if budget else None)
    assert not body(model, "none").keys() & {"output_config", "thinking"}


@pytest.mark.parametrize(
    ("more", "thinks"),
    [
        ({}, 24_576), ({"max_output_tokens": 20_000}, 10_000), ({"max_output_tokens": 2_000}, 0), ({"temperature": 0.2}, 0),
        ({"temperature": 1.0}, 24_576), ({"top_k": 5}, 0), ({"top_p": 0.99}, 24_576), ({"top_p": 0.5}, 0),
        ({"tool_choice": chat.ToolChoice(mode=chat.ToolChoice.MODE_REQUIRED)}, 0), ({"messages": LOOKED}, 0),
        ({"messages": [*LOOKED, said(chat.ROLE_ASSISTANT), said(chat.ROLE_USER)]}, 24_576),
    ],
)  # fmt: skip
def test_what_anthropic_refuses_beside_a_budget_is_asked_without(more: dict[str, Any], thinks: int) -> None:
    made = body("claude-haiku-4-5", **more)
    assert made.get("thinking", {}).get("budget_tokens", 0) == thinks
    assert made["max_tokens"] == more.get("max_output_tokens", 64_000)


@pytest.mark.parametrize(
    ("provider", "model", "effort", "told"),
    [
        ("openai", "gpt-4.1", "high", ""), ("openai", "gpt-4o-mini", "low", ""), ("openai", "chatgpt-4o-latest", "low", ""),
        ("openai", "o4-mini", "xhigh", "high"), ("openai", "gpt-5", "xhigh", "high"), ("openai", "gpt-5.1-codex", "xhigh", "high"),
        ("openai", "gpt-5.1-codex-max", "xhigh", "xhigh"), ("openai", "gpt-6.2-sol", "xhigh", "xhigh"), ("openai", "gpt-5-mini", "minimal", "minimal"),
        ("azure", "my-deployment", "medium", "medium"), ("azure", "gpt-4o-eu", "medium", ""),
        ("groq", "llama-3.3-70b-versatile", "high", ""), ("groq", "openai/gpt-oss-120b", "xhigh", "high"),
        ("mistral", "mistral-large-latest", "high", ""), ("mistral", "magistral-medium-latest", "high", "high"),
        ("ollama", "llama3.2", "high", ""), ("ollama", "qwen3:8b", "high", "high"), ("ollama", "deepseek-r1:14b", "low", "low"),
        ("vllm", "meta-llama/Llama-3.1-8B-Instruct", "high", "high"), ("own", "any", "none", "none"), ("openai", "o3", "", ""),
    ],
)  # fmt: skip
def test_a_provider_that_refuses_efforts_is_told_none_of_a_model_that_does_not_think(
    provider: str, model: str, effort: str, told: str
) -> None:
    for thinks, wanted in ((None, told), (False, ""), (True, told or (effort and effort))):
        entry = Entry(model, provider=provider, base_url="http://x", thinks=thinks)
        request = chat.ChatRequest(messages=ASKED, reasoning_effort=effort)
        made = openai_request.written(Target("m", entry, entry.places[0]), request, stream=False)
        assert made.get("reasoning_effort", "") == wanted
        made = responses_request.written(Target("m", entry, entry.places[0]), request, stream=False)
        assert made.get("reasoning", {}).get("effort", "") == wanted


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("user-4711", "user-4711"),
        ("ada@example.com", sha256(b"ada@example.com").hexdigest()),
        ("x" * 65, sha256(b"x" * 65).hexdigest()),
        ('{"device_id":"7","session_id":"9"}', sha256(b'{"device_id":"7","session_id":"9"}').hexdigest()),
    ],
)
def test_a_provider_knows_an_end_user_by_a_name_that_says_nothing(user: str, told: str) -> None:
    entry = Entry("m", base_url="http://x")
    request, target = chat.ChatRequest(messages=ASKED, user=user), Target("m", entry, entry.places[0])
    assert openai_request.written(target, request, stream=False)["user"] == told
    assert responses_request.written(target, request, stream=False)["user"] == told
    assert anthropic.written(target, request, stream=False)["metadata"] == {"user_id": told}
