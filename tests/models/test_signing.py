"""Signatures that Gemini wants back with its calls: kept, handed in again, and made up for where there is none."""

import json

import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.models.catalogue import Entry
from services.models.wires import gemini, gemini_request, openai, openai_request
from services.models.wires.adapter import Target
from services.models.wires.signing import UNSIGNED
from tests.models.upstream import target

CALLS = [
    {"functionCall": {"name": "look", "args": {"of": 1}}, "thoughtSignature": "c2lnbmVk"},
    {"functionCall": {"name": "look", "args": {"of": 2}}},
]


def to(wire: str, model: str) -> Target:
    entry = Entry(model, wire=wire, base_url="http://x")
    return Target("m", entry, entry.places[0])


def again(*signatures: str) -> chat.ChatRequest:
    """A conversation in which tools were called, with their results."""
    calls = [chat.ToolCall(id=f"c{n}", name="look", arguments="{}", signature=one) for n, one in enumerate(signatures)]
    results = [
        chat.Message(role=chat.ROLE_TOOL, tool_call_id=one.id, parts=[chat.ContentPart(text="seen")]) for one in calls
    ]
    asked = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="look")])
    return chat.ChatRequest(messages=[asked, chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=calls), *results])


def test_an_answers_signatures_are_kept() -> None:
    body = {"candidates": [{"content": {"parts": CALLS}, "finishReason": "STOP"}]}
    made = gemini.completion(body, "m")
    assert [one.signature for one in made.choices[0].message.tool_calls] == ["c2lnbmVk", ""]
    piece = gemini._Reading("m").piece(body)
    assert [one.signature for one in piece.choices[0].tool_calls] == ["c2lnbmVk", ""]


def test_so_are_those_of_googles_openai_interface() -> None:
    call = {
        "id": "c",
        "function": {"name": "look", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    whole = {"choices": [{"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    assert openai.completion(whole, "m").choices[0].message.tool_calls[0].signature == "s"
    piece = {"choices": [{"delta": {"tool_calls": [{"index": 0, **call}]}}]}
    assert openai.chunk(piece, "m").choices[0].tool_calls[0].signature == "s"


@pytest.mark.parametrize(
    ("model", "kept", "sent"),
    [
        ("gemini-3-pro-preview", ("own", ""), ["own", None]),
        ("gemini-3.1-flash", ("", ""), [UNSIGNED, None]),
        ("gemini-4-argon", ("", ""), [UNSIGNED, None]),
        ("gemini-2.5-pro", ("own", ""), ["own", None]),
        ("gemini-2.5-pro", ("", ""), [None, None]),
        ("gpt-5", ("own", ""), [None, None]),
        ("gemini-3-pro-preview", ("ann@example.com", ""), [UNSIGNED, None]),
    ],
)
def test_a_call_goes_back_with_its_signature(model: str, kept: tuple[str, ...], sent: list[str | None]) -> None:
    body = json.loads(json.dumps(gemini_request.written(to("gemini", model), again(*kept)), default=lambda _: {}))
    (turn,) = [one for one in body["contents"] if one["role"] == "model"]
    assert [part.get("thoughtSignature") for part in turn["parts"]] == sent
    body = openai_request.written(to("openai", model), again(*kept), stream=False)
    calls = body["messages"][1]["tool_calls"]
    assert [one.get("extra_content", {}).get("google", {}).get("thought_signature") for one in calls] == sent


def test_gemini_is_sent_sound_and_files() -> None:
    parts = [
        chat.ContentPart(audio=chat.Audio(data=b"RIFF", format="wav")),
        chat.ContentPart(file=chat.File(filename="a.pdf", data="data:application/pdf;base64,JVBERg==")),
    ]
    request = chat.ChatRequest(messages=[chat.Message(role=chat.ROLE_USER, parts=parts)])
    (turn,) = gemini_request.written(target("gemini", "http://x"), request)["contents"]
    assert turn["parts"] == [
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
    ]
