"""Thoughts, sealed: opened for the model and the tenant that they are of, by whoever has the key, and by nobody else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.models.catalogue import Entry
from services.models.thoughts import Thoughts
from services.models.wires import anthropic
from services.models.wires.adapter import Target
from services.models.wires.thinking import budget

texts = st.text(st.characters(exclude_categories=()), max_size=200)


@given(texts, texts)
def test_what_is_sealed_is_opened_as_it_was(text: str, signature: str) -> None:
    block = {"type": "thinking", "thinking": text, "signature": signature}
    sealed = Thoughts("key").sealed("claude", block)
    assert Thoughts("key").opened("claude", [sealed]) == [block]
    assert not Thoughts("other").opened("claude", [sealed]) and not Thoughts().opened("claude", [sealed])
    assert not Thoughts("key").opened("another", [sealed])


@given(st.text(max_size=100))
def test_what_is_no_thought_is_passed_over(text: str) -> None:
    assert Thoughts("key").opened("claude", [text]) == []


def test_the_same_thought_is_sealed_in_another_way_each_time() -> None:
    block = {"type": "redacted_thinking", "data": "x"}
    assert Thoughts("key").sealed("claude", block) != Thoughts("key").sealed("claude", block)


def test_they_stand_before_what_was_said_and_a_tool_loop_goes_on_thinking() -> None:
    thoughts = Thoughts("key")
    entry = Entry("claude-haiku-4-5", wire="anthropic", base_url="http://x", max_output_tokens=64_000)
    target = Target("m", entry, entry.places[0])
    block: dict[str, Any] = {"type": "thinking", "thinking": "hm", "signature": "s"}
    said = chat.Message(
        role=chat.ROLE_ASSISTANT,
        parts=[chat.ContentPart(text="Let me look.")],
        tool_calls=[chat.ToolCall(id="c", name="look", arguments="{}")],
        thoughts=[thoughts.sealed("claude-haiku-4-5", block), thoughts.sealed("claude-opus-5", block)],
    )
    result = chat.Message(role=chat.ROLE_TOOL, tool_call_id="c", parts=[chat.ContentPart(text="seen")])
    asked = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="look")])
    request = chat.ChatRequest(messages=[asked, said, result], reasoning_effort="low")
    made = anthropic.written(target, request, stream=False, thoughts=thoughts)
    assert made["messages"][1]["content"][0] == block
    assert [one["type"] for one in made["messages"][1]["content"]] == ["thinking", "text", "tool_use"]
    assert budget("claude-haiku-4-5", request, 64_000) == {"type": "enabled", "budget_tokens": 2_048}
