"""Gemini's wire without a mesh: what bodies ask for, and how answers are told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire import gemini, generated
from services.edge.wire.errors import Refusal
from services.edge.wire.gemini_body import Asked, read
from services.edge.wire.schema import plain

KINDS = ("STRING", "NUMBER", "INTEGER", "BOOLEAN")
ROAD = pb.Road(trace_id="t1", model="m")
names = st.text("abcdefgh_", min_size=1, max_size=8)
leaves = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)}, optional={"nullable": st.booleans(), "description": st.text(max_size=9)}
)
schemas = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries({"type": st.just("ARRAY"), "items": inner}, optional={"maxItems": st.sampled_from(("3", 3))})
    | st.fixed_dictionaries({"type": st.just("OBJECT"), "properties": st.dictionaries(names, inner, max_size=4)}, optional={"propertyOrdering": st.just(["a"])})
    | st.fixed_dictionaries({"any_of": st.lists(inner, min_size=1, max_size=3)}),
    max_leaves=8,
)  # fmt: skip


@given(schemas)
def test_any_schema_of_googles_is_one_of_jsons(schema: dict[str, Any]) -> None:
    made = plain(schema)
    Draft202012Validator.check_schema(made)
    assert "nullable" not in json.dumps(made) or '"nullable"' in json.dumps(schema.get("properties", {}))


def asked(**body: Any) -> chat.ChatRequest:
    return gemini.chat_request("m", read(Asked, json.dumps(body).encode()))


def said(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"of": name}, **more}}


def result(name: str, **more: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"output": name}, **more}}


def test_results_find_the_calls_that_they_answer() -> None:
    turns = [
        said({"text": "go"}),
        said(call("a"), call("b"), call("a"), {"text": "wait", "thought": True}, role="model"),
        said(result("b"), result("a"), result("a"), {"text": "so?"}),
        said(call("a", id="own"), role="model"),
        said({"functionResponse": {"name": "a", "id": "own", "response": {"error": "no"}}}, role="function"),
    ]
    made = asked(contents=turns)
    calls = [one.id for one in made.messages[1].tool_calls]
    assert len(set(calls)) == 3 and made.messages[1].reasoning == "wait"
    answers = [one for one in made.messages if one.role == chat.ROLE_TOOL]
    assert [one.tool_call_id for one in answers] == [calls[1], calls[0], calls[2], "own"]
    assert [one.failed for one in answers] == [False, False, False, True]
    assert made.messages[5].parts[0].text == "so?"


def test_calls_of_tools_are_bound_as_they_say() -> None:
    tools = [{"functionDeclarations": [{"name": name} for name in "abc"]}, {"googleSearch": {}}]

    def mode(**config: Any) -> chat.ChatRequest:
        return asked(contents=[said({"text": "x"})], tools=tools, toolConfig={"functionCallingConfig": config})

    one = mode(mode="ANY", allowedFunctionNames=["b"])
    assert (one.tool_choice.mode, one.tool_choice.function) == (chat.ToolChoice.MODE_FUNCTION, "b")
    some = mode(mode="ANY", allowedFunctionNames=["a", "c"])
    assert [tool.name for tool in some.tools] == ["a", "c"]
    assert some.tool_choice.mode == chat.ToolChoice.MODE_REQUIRED and some.HasField("web_search")
    assert mode(mode="NONE").tool_choice.mode == chat.ToolChoice.MODE_NONE


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"thinkingBudget": 0}, "minimal"), ({"thinkingBudget": -1}, ""), ({"thinkingBudget": 1024}, "low"),
        ({"thinkingBudget": 32_000}, "high"), ({"thinkingLevel": "LOW"}, "low"),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, ""), ({"includeThoughts": True}, ""),
    ],
)  # fmt: skip
def test_thinking_becomes_an_effort(thinking: dict[str, Any], effort: str) -> None:
    made = asked(contents=[said({"text": "x"})], generationConfig={"thinkingConfig": thinking})
    assert made.reasoning_effort == effort


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ("contents", "parts", "text", "role", "functionCall", "functionResponse", "name", "args", "response", "inline_data",
         "mimeType", "data", "tools", "functionDeclarations", "generationConfig", "temperature", "systemInstruction")
    ), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_any_body_is_read_or_refused(body: Any) -> None:
    for whole in (body, {"contents": [body]}, {"contents": [{"parts": [body]}]}):
        try:
            gemini.chat_request("m", read(Asked, json.dumps(whole).encode()))
        except Refusal as refusal:
            assert refusal.status == 400 and generated.refused(refusal)["error"]["status"] == "INVALID_ARGUMENT"


def whole(thoughts: bool = False, **message: Any) -> Any:
    usage = chat.Usage(input_tokens=9, output_tokens=7, reasoning_tokens=3, cached_input_tokens=2)
    choice = chat.Choice(
        message=chat.Message(role=chat.ROLE_ASSISTANT, **message), finish_reason=chat.FINISH_REASON_LENGTH
    )
    return json.loads(
        generated.whole(chat.ChatCompletion(id="r", choices=[choice], usage=usage), ROAD, thoughts=thoughts)
    )


def test_thoughts_are_told_to_who_asked_for_them_and_counted_apart() -> None:
    text = [chat.ContentPart(text="so")]
    made = whole(parts=text, reasoning="hm")
    assert made["candidates"][0]["content"] == {"role": "model", "parts": [{"text": "so"}]}
    assert made["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert whole(True, parts=text, reasoning="hm")["candidates"][0]["content"]["parts"][0] == {
        "text": "hm",
        "thought": True,
    }
    assert made["usageMetadata"] == {
        "promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "cachedContentTokenCount": 2, "totalTokenCount": 16,
    }  # fmt: skip


def test_what_an_answer_rests_on_is_told_in_bytes() -> None:
    cited = [chat.WebCitation(url="https://a.example", title="A", start=3, end=8)]
    searched = [chat.WebLookup(query="tolls")]
    (made,) = whole(parts=[chat.ContentPart(text="På broen er det")], citations=cited, lookups=searched)["candidates"]
    found = made["groundingMetadata"]
    assert found["webSearchQueries"] == ["tolls"]
    assert found["groundingChunks"] == [{"web": {"uri": "https://a.example", "title": "A"}}]
    (support,) = found["groundingSupports"]
    assert support == {"segment": {"startIndex": 4, "endIndex": 9, "text": "broen"}, "groundingChunkIndices": [0]}


@pytest.mark.parametrize("kind", (generated.Events, generated.Listed))
def test_calls_in_pieces_are_told_whole_at_the_end(kind: type[generated.Events]) -> None:
    events = kind(ROAD, thoughts=True)
    pieces = [
        chat.ChoiceDelta(reasoning="hm"),
        chat.ChoiceDelta(tool_calls=[chat.ToolCallDelta(index=0, id="c", name="look", arguments='{"a"')]),
        chat.ChoiceDelta(
            tool_calls=[chat.ToolCallDelta(index=0, arguments=":1}"), chat.ToolCallDelta(index=1, id="d", name="b")]
        ),
        chat.ChoiceDelta(finish_reason=chat.FINISH_REASON_TOOL_CALLS),
    ]
    raw = b"".join(events.add(chat.ChatChunk(id="r", choices=[one])) for one in pieces)
    raw += events.end(pb.StreamCompleteResponse(chunk=chat.ChatChunk(usage=chat.Usage(output_tokens=4))))
    told = (
        json.loads(raw)
        if kind is generated.Listed
        else [json.loads(one[6:]) for one in raw.decode().split("\n\n") if one]
    )
    assert told[0]["candidates"][0]["content"]["parts"] == [{"text": "hm", "thought": True}]
    last = told[-1]["candidates"][0]
    assert [one["functionCall"] for one in last["content"]["parts"]] == [
        {"id": "c", "name": "look", "args": {"a": 1}}, {"id": "d", "name": "b", "args": {}},
    ]  # fmt: skip
    assert last["finishReason"] == "STOP" and len(told) == 2


def test_a_refusal_has_googles_shape() -> None:
    refusal = Refusal(429, "rate_limit_exceeded", "slow down", headers={"retry-after": "7"})
    (info, retry) = generated.refused(refusal)["error"]["details"]
    assert info["reason"] == "RATE_LIMIT_EXCEEDED" and retry["retryDelay"] == "7s"
