"""What models on Bedrock are told beyond the words that every model has: how hard to think, thoughts, marks and files. AWS's own SDK is
asked whether it would send the same."""

import base64
import copy
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore
import orjson
import pytest
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.validate import ParamValidator
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Entry
from services.models.thoughts import Thoughts
from services.models.wires.adapter import Target
from services.models.wires.bedrock import Bedrock
from services.models.wires.bedrock_request import written
from services.runtime.http import session
from tests.models.upstream import Upstream, counter, frame, streamed

CLAUDE, OPUS, OLD = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-opus-4-5-20251101-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"  # fmt: skip
NEW, GPT, NOVA, NOVA_2, LLAMA = "anthropic.claude-sonnet-4-6", "openai.gpt-oss-120b-1:0", "us.amazon.nova-pro-v1:0", "us.amazon.nova-2-lite-v1:0", "meta.llama3-1-70b-instruct-v1:0"  # fmt: skip
SIGNED: dict[str, Any] = {"type": "thinking", "thinking": "Where to?", "signature": "c2ln"}
HIDDEN: dict[str, Any] = {"type": "redacted_thinking", "data": base64.b64encode(b"hidden").decode()}
USED = {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}


def to(model: str, url: str = "http://x") -> Target:
    entry = Entry(model, provider="bedrock", base_url=url, region="eu-central-1", max_output_tokens=64_000)
    return Target("m", entry, entry.places[0], "secret")


def said(text: str = "hello", **more: Any) -> chat.Message:
    return chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text, **more)])


@cache
def converse() -> Any:
    file = Path(botocore.__file__).parent / "data" / "bedrock-runtime" / "2023-09-30" / "service-2.json.gz"
    return ServiceModel(json.loads(gzip.decompress(file.read_bytes())), "bedrock-runtime").operation_model("Converse")


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """A body that AWS's SDK takes, which writes bytes as base64 itself."""
    asked = orjson.loads(orjson.dumps(body))
    for message in asked["messages"]:
        for block in message["content"]:
            if "document" in block:
                block["document"]["source"]["bytes"] = block["document"]["source"]["bytes"].encode()
            if "redactedContent" in (thought := block.get("reasoningContent", {})):
                thought["redactedContent"] = thought["redactedContent"].encode()
    report = ParamValidator().validate({"modelId": "m", **asked}, converse().input_shape)
    assert not report.has_errors(), report.generate_report()
    return body


def fields(model: str, **more: Any) -> Any:
    body = checked(written(to(model), chat.ChatRequest(messages=[said()], **more)))
    return body.get("additionalModelRequestFields")


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        (CLAUDE, "low", {"thinking": {"type": "enabled", "budget_tokens": 2_048}}),
        (CLAUDE, "none", None),
        (OPUS, "medium", {"output_config": {"effort": "medium"}, "anthropic_beta": ["effort-2025-11-24"]}),
        (NEW, "xhigh", {"output_config": {"effort": "xhigh"}}),
        (OLD, "high", None),
        (GPT, "minimal", {"reasoning_effort": "low"}),
        (NOVA_2, "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (NOVA_2, "xhigh", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        (NOVA, "high", None),
        (LLAMA, "high", None),
        (CLAUDE, "", None),
    ],
)
def test_each_family_is_told_in_its_words_how_hard_to_think(model: str, effort: str, told: Any) -> None:
    assert fields(model, reasoning_effort=effort) == told


def test_a_claude_samples_from_so_many_and_others_are_not_told() -> None:
    assert fields(CLAUDE, top_k=20) == {"top_k": 20}
    with pytest.raises(faults.Unsupported):
        fields(LLAMA, top_k=20)


def looped(thoughts: Thoughts, *, failed: bool = False) -> list[chat.Message]:
    """A call of a tool and its result, with what was thought before it."""
    return [
        said(),
        chat.Message(
            role=chat.ROLE_ASSISTANT,
            parts=[chat.ContentPart(text="Let me look.")],
            tool_calls=[chat.ToolCall(id="c", name="look", arguments="{}")],
            thoughts=[thoughts.sealed(CLAUDE, SIGNED), thoughts.sealed(CLAUDE, HIDDEN), thoughts.sealed(OPUS, SIGNED)],
        ),
        chat.Message(role=chat.ROLE_TOOL, tool_call_id="c", parts=[chat.ContentPart(text="rain")], failed=failed),
    ]


def test_a_claudes_thoughts_come_back_to_it_before_what_it_said_and_it_goes_on_thinking() -> None:
    thoughts = Thoughts("key")
    request = chat.ChatRequest(messages=looped(thoughts), reasoning_effort="low", tools=[chat.Tool(name="look")])
    body = checked(written(to(CLAUDE), request, thoughts))
    assert body["messages"][1]["content"][:3] == [
        {"reasoningContent": {"reasoningText": {"text": "Where to?", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": HIDDEN["data"]}},
        {"text": "Let me look."},
    ]
    assert body["additionalModelRequestFields"]["thinking"]["type"] == "enabled"
    another = written(to(OPUS), request, thoughts)["messages"][1]["content"]
    assert [one for one in another if "reasoningContent" in one] == [
        {"reasoningContent": {"reasoningText": {"text": "Where to?", "signature": "c2ln"}}}
    ], "another model's are nothing to it"


def test_a_call_that_failed_is_told_as_one() -> None:
    request = chat.ChatRequest(messages=looped(Thoughts(), failed=True), tools=[chat.Tool(name="look")])
    (result,) = checked(written(to(CLAUDE), request))["messages"][2]["content"]
    assert result["toolResult"] == {"toolUseId": "c", "content": [{"text": "rain"}], "status": "error"}


def test_marks_for_the_providers_cache_reach_models_that_have_one() -> None:
    above = chat.Message(role=chat.ROLE_SYSTEM, parts=[chat.ContentPart(text="Long.", cache_mark=True)])
    result = chat.Message(role=chat.ROLE_TOOL, tool_call_id="c", parts=[chat.ContentPart(text="rain", cache_mark=True)])
    request = chat.ChatRequest(messages=[above, said(cache_mark=True), *looped(Thoughts())[1:2], result, said("and?")])
    for model in (CLAUDE, NOVA):
        body, point = checked(written(to(model), request)), {"cachePoint": {"type": "default"}}
        assert body["system"] == [{"text": "Long."}, point]
        assert body["messages"][0]["content"] == [{"text": "hello"}, point]
        assert [next(iter(one)) for one in body["messages"][2]["content"]] == ["toolResult", "cachePoint", "text"]
    assert "cachePoint" not in json.dumps(written(to(LLAMA), request), default=str)


@pytest.mark.parametrize(
    ("name", "media", "told"),
    [
        ("Fees 2026 (draft).pdf", "application/pdf", {"format": "pdf", "name": "Fees 2026 (draft)"}),
        ("fees_for.../everyone!.csv", "text/csv", {"format": "csv", "name": "fees for everyone"}),
        ("", "text/markdown", {"format": "md", "name": "document"}),
    ],
)
def test_documents_are_sent_under_names_that_converse_takes(name: str, media: str, told: dict[str, str]) -> None:
    data = base64.b64encode(b"%PDF-1.7").decode()
    part = chat.ContentPart(file=chat.File(filename=name, data=f"data:{media};base64,{data}"))
    request = chat.ChatRequest(messages=[chat.Message(role=chat.ROLE_USER, parts=[part, chat.ContentPart(text="?")])])
    (document, _) = checked(written(to(CLAUDE), request))["messages"][0]["content"]
    assert document["document"] == {**told, "source": {"bytes": data}}


@pytest.mark.parametrize("data", ["https://x/fees.pdf", "data:application/zip;base64,eA=="])
def test_other_files_are_refused(data: str) -> None:
    part = chat.ContentPart(file=chat.File(filename="fees", data=data))
    with pytest.raises(faults.Unsupported):
        written(to(CLAUDE), chat.ChatRequest(messages=[chat.Message(role=chat.ROLE_USER, parts=[part])]))


THOUGHT: list[dict[str, Any]] = [
    {"reasoningContent": {"reasoningText": {"text": "Where to?", "signature": "c2ln"}}},
    {"reasoningContent": {"redactedContent": HIDDEN["data"]}},
]


@pytest.mark.parametrize("signed", [True, False])
async def test_thoughts_are_handed_out_sealed_where_their_model_wants_them_back(
    upstream: Upstream, signed: bool
) -> None:
    thoughts, content = Thoughts("key"), copy.deepcopy(THOUGHT)
    if not signed:
        del content[0]["reasoningContent"]["reasoningText"]["signature"], content[1]
    upstream.answer = {
        "output": {"message": {"role": "assistant", "content": [*content, {"text": "Rome."}]}},
        "stopReason": "end_turn", "usage": USED, "metrics": {"latencyMs": 1},
    }  # fmt: skip
    raw = {"body": json.dumps(upstream.answer).encode(), "headers": {}, "status_code": 200}
    assert create_parser("rest-json").parse(raw, converse().output_shape)["stopReason"] == "end_turn"
    async with session() as http:
        made = await Bedrock(http, counter(), thoughts).complete(
            to(CLAUDE, upstream.url), chat.ChatRequest(messages=[said()])
        )
    message = made.choices[0].message
    assert (message.reasoning, message.parts[0].text) == ("Where to?", "Rome.")
    assert thoughts.opened(CLAUDE, message.thoughts) == ([SIGNED, HIDDEN] if signed else [])


async def test_thoughts_of_a_stream_are_whole_at_their_end(upstream: Upstream) -> None:
    thoughts = Thoughts("key")
    deltas: list[tuple[int, dict[str, Any]]] = [
        (0, {"reasoningContent": {"text": "Where "}}), (0, {"reasoningContent": {"text": "to?"}}),
        (0, {"reasoningContent": {"signature": "c2ln"}}), (1, {"reasoningContent": {"redactedContent": HIDDEN["data"]}}),
        (2, {"text": "Rome."}),
    ]  # fmt: skip
    events: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
    for at, delta in deltas:
        events.append(("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}))
        if at or "signature" in delta["reasoningContent"]:
            events.append(("contentBlockStop", {"contentBlockIndex": at}))
    events += [("messageStop", {"stopReason": "end_turn"}), ("metadata", {"usage": USED})]
    upstream.answer = b"".join(frame(kind, event) for kind, event in events)
    async with session() as http:
        adapter = Bedrock(http, counter(), thoughts)
        chunks = await streamed(adapter, to(CLAUDE, upstream.url), chat.ChatRequest(messages=[said()]))
    told = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(one.reasoning for one in told) == "Where to?" and "".join(one.content for one in told) == "Rome."
    assert thoughts.opened(CLAUDE, [sealed for one in told for sealed in one.thoughts]) == [SIGNED, HIDDEN]
    kinds = ["thought" if one.thoughts else "text" for one in told if one.thoughts or one.content]
    assert kinds == ["thought", "thought", "text"]
