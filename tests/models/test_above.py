"""Instructions above a conversation and in the middle of it, on wires that have them above alone."""

from typing import Any

import orjson
import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.models.wires import anthropic, bedrock_request, gemini_request, thinking
from services.models.wires.above import parted
from tests.models.upstream import target

LOUD = "<system-reminder>\nShout.\n</system-reminder>"


def message(role: "chat.Role.ValueType", text: str, **more: Any) -> chat.Message:
    return chat.Message(role=role, parts=[chat.ContentPart(text=text)], **more)


def conversation() -> list[chat.Message]:
    return [
        message(chat.ROLE_SYSTEM, "Be brief."),
        message(chat.ROLE_DEVELOPER, "Be kind."),
        message(chat.ROLE_USER, "Is it sunny?"),
        message(chat.ROLE_ASSISTANT, "Let me look.", tool_calls=[chat.ToolCall(id="c", name="look", arguments="{}")]),
        message(chat.ROLE_SYSTEM, "Shout."),
        message(chat.ROLE_TOOL, "rain", tool_call_id="c"),
        message(chat.ROLE_SYSTEM, ""),
    ]


def test_one_in_the_middle_stays_there_but_for_results_that_must_come_first() -> None:
    above, rest = parted(conversation())
    assert [one.parts[0].text for one in above] == ["Be brief.", "Be kind."]
    assert [one.role for one in rest[:4]] == [chat.ROLE_USER, chat.ROLE_ASSISTANT, chat.ROLE_TOOL, chat.ROLE_USER]
    assert rest[3].parts[0].text == LOUD and not rest[4].parts


def test_a_longer_conversation_begins_as_the_shorter_one_did() -> None:
    """A provider's cache goes by beginnings."""
    said = conversation()[:3]
    more = [*said, message(chat.ROLE_ASSISTANT, "Yes."), message(chat.ROLE_SYSTEM, "Shout.")]
    before = anthropic.written(target("anthropic", "http://x"), chat.ChatRequest(messages=said), stream=False)
    after = anthropic.written(target("anthropic", "http://x"), chat.ChatRequest(messages=more), stream=False)
    assert after["system"] == before["system"] == "Be brief.\n\nBe kind."
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert after["messages"][-1] == {"role": "user", "content": [{"type": "text", "text": LOUD}]}


def test_every_wire_says_it_after_the_result() -> None:
    request = chat.ChatRequest(messages=[*conversation(), message(chat.ROLE_USER, "And now?")])
    claude = anthropic.written(target("anthropic", "http://x"), request, stream=False)["messages"]
    assert [block["type"] for block in claude[2]["content"]] == ["tool_result", "text", "text"]
    bedrock = bedrock_request.written(target("bedrock", "http://x"), request)
    assert [next(iter(block)) for block in bedrock["messages"][2]["content"]] == ["toolResult", "text", "text"]
    gemini = gemini_request.written(target("gemini", "http://x"), request)
    assert [next(iter(part)) for part in gemini["contents"][2]["parts"]] == ["functionResponse", "text", "text"]
    for body in (claude, bedrock, gemini):
        assert orjson.dumps(body, default=lambda one: {}).count(b"Shout.") == 1


@pytest.mark.parametrize(
    ("model", "effort", "said"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", "low", {"thinkingBudget": 1_024}),
        ("gemini-2.5-pro-002", "xhigh", {"thinkingBudget": 24_576}),
        ("gemini-2.0-flash", "high", {}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "low"}),
        ("gemini-3.5-flash", "medium", {"thinkingLevel": "medium"}),
        ("gemini-4-pro", "xhigh", {"thinkingLevel": "high"}),
        ("gemini-flash-latest", "high", {"thinkingLevel": "high"}),
    ],
)
def test_a_gemini_is_told_how_hard_to_think_in_the_words_that_it_knows(
    model: str, effort: str, said: dict[str, Any]
) -> None:
    assert thinking.gemini(model, effort) == said
