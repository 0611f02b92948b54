"""Every adapter against the same cases: golden requests out, golden answers in."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Entry
from services.models.wires import anthropic, bedrock_request, gemini_request, openai_request, responses_request
from services.models.wires.adapter import Adapter, Target
from services.models.wires.every import wires_over
from services.runtime.http import session
from tests.models.upstream import (
    SECRET,
    SPEAKS,
    WIRES,
    Upstream,
    asked,
    counter,
    frame,
    golden,
    stream,
    streamed,
    target,
)

PATHS = {
    "openai": "/chat/completions",
    "responses": "/responses",
    "anthropic": "/messages",
    "gemini": "/models/provider-model:generateContent",
    "bedrock": "/model/provider-model/converse",
    "vertex": "/projects/house/locations/eu-central-1/publishers/google/models/provider-model:generateContent",
}
SHOWN = {
    "openai": ("authorization", f"Bearer {SECRET}"),
    "responses": ("authorization", f"Bearer {SECRET}"),
    "anthropic": ("x-api-key", SECRET),
    "gemini": ("x-goog-api-key", SECRET),
    "bedrock": ("authorization", f"Bearer {SECRET}"),
    "vertex": ("authorization", f"Bearer {SECRET}"),
}


@dataclass(frozen=True, slots=True)
class Wire:
    name: str
    adapter: Adapter
    to: Target
    upstream: Upstream


@pytest.fixture(params=WIRES)
async def wire(request: pytest.FixtureRequest, upstream: Upstream) -> AsyncIterator[Wire]:
    async with session() as http:
        adapter = wires_over(http, counter())[request.param]
        yield Wire(request.param, adapter, target(request.param, upstream.url), upstream)


@pytest.mark.parametrize("name", ["request", "rich"])
async def test_a_request_is_written_as_the_wire_wants_it(wire: Wire, name: str) -> None:
    wire.upstream.answer = golden(wire.name, "answer")
    await wire.adapter.complete(wire.to, asked(wire.name, name))
    (got,) = wire.upstream.got
    assert got["path"] == PATHS[wire.name] and got["body"] == golden(wire.name, name)
    header, value = SHOWN[wire.name]
    assert got["headers"][header] == value


async def test_an_answer_is_read_whole(wire: Wire) -> None:
    wire.upstream.answer = golden(wire.name, "answer")
    made = await wire.adapter.complete(wire.to, asked(wire.name))
    choice = made.choices[0]
    assert made.model == "m" and choice.finish_reason == chat.FINISH_REASON_TOOL_CALLS
    assert "".join(part.text for part in choice.message.parts) == "Let me look."
    assert [(call.id, call.name, json.loads(call.arguments)) for call in choice.message.tool_calls] == [
        ("call_9", "look", {"where": "Rome"})
    ]
    used = made.usage
    assert (used.input_tokens, used.output_tokens, used.cached_input_tokens) == (120, 30, 100) and not used.estimated
    if wire.name in ("gemini", "vertex", "responses"):
        assert used.reasoning_tokens == 8 and choice.message.reasoning == "Where to?"


async def test_a_stream_says_the_same_cut_anywhere(wire: Wire) -> None:
    wire.upstream.answer = stream(wire.name)
    chunks = await streamed(wire.adapter, wire.to, asked(wire.name))
    deltas = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content for delta in deltas) == "Let me look."
    calls = [call for delta in deltas for call in delta.tool_calls]
    assert (calls[0].id, calls[0].name) == ("call_9", "look")
    assert json.loads("".join(call.arguments for call in calls)) == {"where": "Rome"}
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == [chat.FINISH_REASON_TOOL_CALLS]
    used = [chunk.usage for chunk in chunks if chunk.HasField("usage")]
    assert [(one.input_tokens, one.output_tokens, one.cached_input_tokens) for one in used] == [(120, 30, 100)]
    assert chunks[-1].HasField("usage")


async def test_a_cut_stream_is_a_fault_and_no_end(wire: Wire) -> None:
    whole = stream(wire.name)
    for at in (len(whole) // 3, len(whole) // 2):
        wire.upstream.answer = whole[:at]
        with pytest.raises(faults.ProviderBroke):
            await streamed(wire.adapter, wire.to, asked(wire.name))


async def test_embeddings_where_the_wire_has_them(wire: Wire) -> None:
    answers = {
        "openai": {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 2}},
        "gemini": {"embeddings": [{"values": [1.0]}, {"values": [2.0]}]},
        "bedrock": {"embeddings": [[1.0], [2.0]]},
        "vertex": {"predictions": [{"embeddings": {"values": [n], "statistics": {"token_count": 1}}} for n in (1.0, 2.0)]},
    }  # fmt: skip
    answers["responses"] = answers["openai"]
    if wire.name == "anthropic":
        with pytest.raises(faults.Unsupported):
            await wire.adapter.embed(wire.to, ["a", "b"], 0)
        return
    wire.upstream.answer = answers[wire.name]
    made = await wire.adapter.embed(wire.to, ["a", "b"], 0)
    assert made.vectors == [[1.0], [2.0]] and made.input_tokens == 2
    wire.upstream.answer = {"data": [], "embeddings": [], "predictions": []}
    if wire.name != "bedrock":
        with pytest.raises(faults.ProviderBroke):
            await wire.adapter.embed(wire.to, ["a", "b"], 0)


async def test_one_answer_at_a_time_where_the_wire_gives_no_more(wire: Wire) -> None:
    request = asked(wire.name)
    request.n = 2
    if wire.name in ("openai", "gemini", "vertex"):
        wire.upstream.answer = golden(wire.name, "answer")
        await wire.adapter.complete(wire.to, request)
        return
    with pytest.raises(faults.Unsupported):
        await wire.adapter.complete(wire.to, request)


async def test_what_a_provider_sets_for_one_caller_goes_along_with_no_other(wire: Wire) -> None:
    wire.upstream.answer, wire.upstream.headers = golden(wire.name, "answer"), {"set-cookie": "whose=first; Path=/"}
    to = target(wire.name, wire.upstream.url.replace("127.0.0.1", "localhost"))  # an address has no cookies
    for _ in range(2):
        await wire.adapter.complete(to, asked(wire.name))
    assert len(wire.upstream.got) == 2 and not any("cookie" in got["headers"] for got in wire.upstream.got)


async def test_an_empty_piece_after_the_end_does_not_open_it_again(upstream: Upstream) -> None:
    """LiteLLM and others send usage with a choice that says nothing."""
    pieces = [
        {"choices": [{"index": 0, "delta": {"content": "yes"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {}}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}},
    ]
    upstream.answer = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in pieces) + b"data: [DONE]\n\n"
    async with session() as http:
        adapter = wires_over(http, counter())["openai"]
        chunks = await streamed(adapter, target("openai", upstream.url), asked("openai"))
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert finishes == [chat.FINISH_REASON_STOP] and chunks[-1].usage.input_tokens == 7


async def test_azure_has_paths_and_a_header_of_its_own(upstream: Upstream) -> None:
    upstream.answer = golden("openai", "answer")
    async with session() as http:
        adapter = wires_over(http, counter())["openai"]
        for version, path in (
            ("", "/openai/v1/chat/completions"),
            ("2024-10-21", "/openai/deployments/provider-model/chat/completions?api-version=2024-10-21"),
        ):
            entry = Entry("provider-model", provider="azure", base_url=upstream.url, api_version=version)
            await adapter.complete(Target("m", entry, entry.places[0], SECRET), asked("openai"))
            got = upstream.got[-1]
            assert got["path"] == path and got["headers"]["api-key"] == SECRET
            assert "authorization" not in got["headers"] and got["body"]["max_completion_tokens"] == 200


async def test_bedrock_signs_with_an_aws_key(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream.answer = golden("bedrock", "answer")
    async with session() as http:
        adapter = wires_over(http, counter())["bedrock"]
        await adapter.complete(target("bedrock", upstream.url, "AKIDEXAMPLE:wJalr:token"), asked("bedrock"))
        signed = upstream.got[-1]["headers"]
        assert "Credential=AKIDEXAMPLE/" in signed["authorization"] and signed["x-amz-security-token"] == "token"
        assert "/eu-central-1/bedrock/aws4_request" in signed["authorization"] and "wJalr" not in str(signed)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDFOUND")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "found")
        await adapter.complete(target("bedrock", upstream.url, ""), asked("bedrock"))
        assert "Credential=AKIDFOUND/" in upstream.got[-1]["headers"]["authorization"]


async def test_a_model_id_with_a_colon_is_signed_as_it_is_sent(upstream: Upstream) -> None:
    upstream.answer = golden("bedrock", "answer")
    entry = Entry("meta.llama3-1-70b-instruct-v1:0", wire="bedrock", base_url=upstream.url, region="us-west-2")
    async with session() as http:
        adapter = wires_over(http, counter())["bedrock"]
        await adapter.complete(Target("m", entry, entry.places[0], "AKIDEXAMPLE:wJalr"), asked("bedrock"))
    (got,) = upstream.got
    assert got["path"] == "/model/meta.llama3-1-70b-instruct-v1%3A0/converse"
    again = AWSRequest("POST", f"{upstream.url}{got['path']}", data=got["raw"], headers={
        "content-type": "application/json", "X-Amz-Date": got["headers"]["x-amz-date"]})  # fmt: skip
    again.context["timestamp"] = got["headers"]["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalr"), "bedrock", "us-west-2")
    scope = signer.canonical_request(again)
    assert "/v1/model/meta.llama3-1-70b-instruct-v1%253A0/converse" in scope
    signature = signer.signature(signer.string_to_sign(again, scope), again)
    assert got["headers"]["authorization"].endswith(f"Signature={signature}")


async def test_bedrocks_faults_in_mid_stream(upstream: Upstream) -> None:
    begun = frame("messageStart", {"role": "assistant"})
    async with session() as http:
        adapter = wires_over(http, counter())["bedrock"]
        for kind, fault in (
            ("throttlingException", faults.ProviderBusy),
            ("validationException", faults.ProviderRefused),
            ("modelStreamErrorException", faults.ProviderBroke),
        ):
            upstream.answer = begun + frame(kind, {"message": "hunter2"}, ":exception-type")
            with pytest.raises(fault) as caught:
                await streamed(adapter, target("bedrock", upstream.url), asked("bedrock"))
            assert "hunter2" not in str(caught.value)
        upstream.answer = begun + begun[:20] + b"\x00" * 40
        with pytest.raises(faults.ProviderBroke):
            await streamed(adapter, target("bedrock", upstream.url), asked("bedrock"))


async def test_gemini_says_why_it_will_not_answer(upstream: Upstream) -> None:
    upstream.answer = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}}
    async with session() as http:
        adapter = wires_over(http, counter())["gemini"]
        made = await adapter.complete(target("gemini", upstream.url), asked("gemini"))
        assert made.choices[0].finish_reason == chat.FINISH_REASON_CONTENT_FILTER and made.usage.input_tokens == 7
        upstream.answer = b"data: " + json.dumps(upstream.answer).encode() + b"\n\n"
        chunks = await streamed(adapter, target("gemini", upstream.url), asked("gemini"))
        assert chunks[-1].choices[0].finish_reason == chat.FINISH_REASON_CONTENT_FILTER


APART: dict[str, dict[str, Any]] = {
    "openai": {
        "service_tier": "flex",
        "usage": {
            "prompt_tokens": 120, "completion_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 20, "image_tokens": 30, "cache_write_tokens": 40},
            "completion_tokens_details": {"audio_tokens": 5, "image_tokens": 6},
        },
    },
    "responses": {
        "service_tier": "priority",
        "usage": {"input_tokens": 120, "output_tokens": 30, "input_tokens_details": {"cache_write_tokens": 40}},
    },
    "anthropic": {
        "usage": {"input_tokens": 80, "cache_creation_input_tokens": 40, "output_tokens": 30, "service_tier": "batch"}
    },
    "gemini": {
        "usageMetadata": {
            "promptTokenCount": 120, "candidatesTokenCount": 30,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 70}, {"modality": "AUDIO", "tokenCount": 20},
                                    {"modality": "IMAGE", "tokenCount": 10}, {"modality": "DOCUMENT", "tokenCount": 20}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}, {"modality": "IMAGE", "tokenCount": 6}],
        }
    },
    "bedrock": {"usage": {"inputTokens": 80, "outputTokens": 30, "totalTokens": 150, "cacheWriteInputTokens": 40}},
}  # fmt: skip
KINDS = {
    "openai": chat.TokenKinds(
        cache_write_tokens=40,
        audio_input_tokens=20,
        image_input_tokens=30,
        audio_output_tokens=5,
        image_output_tokens=6,
    ),
    "gemini": chat.TokenKinds(
        audio_input_tokens=20, image_input_tokens=30, audio_output_tokens=5, image_output_tokens=6
    ),
}
TIERS = {"openai": "flex", "responses": "priority", "anthropic": "batch"}


async def test_what_a_provider_bills_apart_is_told(wire: Wire) -> None:
    said = SPEAKS.get(wire.name, wire.name)
    wire.upstream.answer = {**golden(wire.name, "answer"), **APART[said]}
    used = (await wire.adapter.complete(wire.to, asked(wire.name))).usage
    assert (used.input_tokens, used.output_tokens) == (120, 30)
    assert used.kinds == KINDS.get(said, chat.TokenKinds(cache_write_tokens=40))
    assert used.service_tier == TIERS.get(wire.name, "")


@pytest.mark.parametrize(("provider", "told"), [("openai", "flex"), ("azure", "flex"), ("mistral", None)])
async def test_a_tier_of_service_is_asked_of_those_that_have_them(
    upstream: Upstream, provider: str, told: str | None
) -> None:
    to = target("openai", upstream.url)
    to = replace(to, entry=replace(to.entry, provider=provider))
    upstream.answer = {**golden("openai", "answer"), "service_tier": "default"}
    request = asked("openai")
    request.service_tier = "flex"
    async with session() as http:
        made = await wires_over(http, counter())["openai"].complete(to, request)
    (got,) = upstream.got
    assert got["body"].get("service_tier") == told and made.usage.service_tier == ""


async def test_anthropic_is_asked_to_keep_what_is_marked(upstream: Upstream) -> None:
    to, parts = target("anthropic", upstream.url), [chat.ContentPart(text="one"), chat.ContentPart(text="two")]
    result = chat.Message(role=chat.ROLE_TOOL, tool_call_id="call_1", parts=[chat.ContentPart(text="found")])
    request = chat.ChatRequest(messages=[chat.Message(role=chat.ROLE_SYSTEM, parts=parts), result])
    bare = anthropic.written(to, request, stream=False)
    for message in request.messages:
        if message.role in (chat.ROLE_SYSTEM, chat.ROLE_TOOL):
            message.parts[-1].cache_mark = True
    marked = anthropic.written(to, request, stream=False)
    assert bare["system"] == "onetwo" and "cache_control" not in str(bare)
    assert marked["system"] == [
        {"type": "text", "text": "one"},
        {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}},
    ]
    results = [block for turn in marked["messages"] for block in turn["content"] if block["type"] == "tool_result"]
    assert results and all(block["cache_control"] == {"type": "ephemeral"} for block in results)


def sampled(**more: Any) -> chat.ChatRequest:
    said = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="x")])
    return chat.ChatRequest(messages=[said], max_output_tokens=5, **more)


OPEN = {"top_k": 20, "min_p": 0.25, "repetition_penalty": 1.5}


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("vllm", OPEN),
        ("our-own-server", OPEN),
        ("local", {"top_k": 20, "min_p": 0.25, "repeat_penalty": 1.5}),
        ("openrouter", OPEN),
    ],
)
def test_open_models_are_told_in_the_words_of_their_server(provider: str, words: dict[str, Any]) -> None:
    to = target("openai", "http://x", provider=provider, defaults={"top_k": 5, "top_p": 0.5})
    body = openai_request.written(to, sampled(**OPEN), stream=False)
    assert {name: body[name] for name in (*words, "top_p")} == {**words, "top_p": 0.5}


@pytest.mark.parametrize("provider", ["vllm", "local"])
def test_a_chat_template_is_told_its_options(provider: str) -> None:
    options = [
        chat.TemplateOption(name="enable_thinking", truth=False),
        chat.TemplateOption(name="depth", number=3),
        chat.TemplateOption(name="share", number=0.5),
        chat.TemplateOption(name="style", word="brief"),
    ]
    to = target("openai", "http://x", provider=provider)
    body = openai_request.written(to, sampled(template_options=options), stream=False)
    assert orjson.dumps(body["chat_template_kwargs"]) == (
        b'{"enable_thinking":false,"depth":3,"share":0.5,"style":"brief"}'
    )


@pytest.mark.parametrize("name", [*OPEN, "template_options"])
@pytest.mark.parametrize("provider", ["openai", "azure", "groq", "ollama"])
def test_who_does_not_know_it_is_not_asked(provider: str, name: str) -> None:
    more: Any = {name: OPEN[name]} if name in OPEN else {name: [chat.TemplateOption(name="a", truth=True)]}
    with pytest.raises(faults.Unsupported, match=f"m cannot be told {name}"):
        openai_request.written(target("openai", "http://x", provider=provider), sampled(**more), stream=False)


def test_other_wires_know_some_of_it() -> None:
    request = sampled(top_k=20)
    assert anthropic.written(target("anthropic", "http://x"), request, stream=False)["top_k"] == 20
    assert gemini_request.written(target("gemini", "http://x"), request)["generationConfig"]["topK"] == 20
    unable: list[Callable[[], Any]] = [
        lambda: bedrock_request.written(target("bedrock", "http://x"), request),
        lambda: responses_request.written(target("responses", "http://x"), request, stream=False),
        lambda: anthropic.written(target("anthropic", "http://x"), sampled(min_p=0.5), stream=False),
    ]
    for one in unable:
        with pytest.raises(faults.Unsupported):
            one()


def test_every_wire_fills_in_what_the_models_entry_says() -> None:
    said: Any = {"temperature": 0.25, "top_p": 0.5}
    request = sampled(top_p=0.75)
    bodies = [
        openai_request.written(target("openai", "http://x", defaults=said), request, stream=False),
        anthropic.written(target("anthropic", "http://x", defaults=said), request, stream=False),
        responses_request.written(target("responses", "http://x", defaults=said), request, stream=False),
    ]
    assert [(body["temperature"], body["top_p"]) for body in bodies] == [(0.25, 0.75)] * 3
    config = gemini_request.written(target("gemini", "http://x", defaults=said), request)["generationConfig"]
    assert (config["temperature"], config["topP"]) == (0.25, 0.75)
    config = bedrock_request.written(target("bedrock", "http://x", defaults=said), request)["inferenceConfig"]
    assert (config["temperature"], config["topP"]) == (0.25, 0.75)
    kept = anthropic.written(target("anthropic", "http://x", defaults={"top_k": 7.0}), request, stream=False)
    assert orjson.dumps(kept["top_k"]) == b"7" and not request.HasField("top_k")


@pytest.mark.parametrize("failed", [False, True])
async def test_anthropic_is_told_that_a_tool_failed(upstream: Upstream, failed: bool) -> None:
    said = [chat.ContentPart(text="no such file")]
    result = chat.Message(role=chat.ROLE_TOOL, tool_call_id="call_1", parts=said, failed=failed)
    body = anthropic.written(target("anthropic", upstream.url), chat.ChatRequest(messages=[result]), stream=False)
    told = {"is_error": True} if failed else {}
    assert body["messages"][0]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "no such file", **told}
    ]


async def test_what_a_tool_shows_reaches_every_provider() -> None:
    """In the result where the wire has room for it, right after the results where it has none."""
    url = "data:image/png;base64,cG5n"
    image = chat.ContentPart(image=chat.Image(url=url))

    def result(call: str, *parts: chat.ContentPart) -> chat.Message:
        return chat.Message(role=chat.ROLE_TOOL, tool_call_id=call, parts=parts)

    calls = [chat.ToolCall(id=name, name="look", arguments="{}") for name in ("a", "b")]
    request = chat.ChatRequest(
        messages=[
            chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=calls),
            result("a", chat.ContentPart(text="a map"), image),
            result("b", image),
            chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="and?")]),
        ]
    )
    _, one, two, shown, last = openai_request.written(target("openai", "http://x"), request, stream=False)["messages"]
    assert (one["content"], one["tool_call_id"], two["tool_call_id"]) == ("a map", "a", "b") and two["content"]
    seen = {"type": "image_url", "image_url": {"url": url}}
    of = [{"type": "text", "text": f"From the result of {name}:"} for name in ("a", "b")]
    assert shown == {"role": "user", "content": [of[0], seen, of[1], seen]} and last["content"] == "and?"
    (_, turn) = anthropic.written(target("anthropic", "http://x"), request, stream=False)["messages"]
    source = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}
    assert [block.get("content") for block in turn["content"]] == [
        [{"type": "text", "text": "a map"}, source], [source], None,
    ]  # fmt: skip
    items = responses_request.written(target("responses", "http://x"), request, stream=False)["input"]
    assert [kind["type"] for kind in items[2]["output"]] == ["input_text", "input_image"]
    turns = gemini_request.written(target("gemini", "http://x"), request)["contents"]
    assert [next(iter(part)) for part in turns[1]["parts"]] == [
        "functionResponse", "inlineData", "functionResponse", "inlineData", "text",
    ]  # fmt: skip
    turns = bedrock_request.written(target("bedrock", "http://x"), request)["messages"]
    content = [block["toolResult"]["content"] for block in turns[1]["content"] if "toolResult" in block]
    assert [[next(iter(block)) for block in one] for one in content] == [["text", "image"], ["image"]]


async def test_anthropic_reads_pdfs_thinks_as_hard_as_it_is_told_and_hears_nothing(upstream: Upstream) -> None:
    to, paper = target("anthropic", upstream.url), chat.File(filename="a.pdf", data="data:application/pdf;base64,cGRm")

    def body(part: chat.ContentPart, **more: Any) -> dict[str, Any]:
        message = chat.Message(role=chat.ROLE_USER, parts=[part])
        return anthropic.written(to, chat.ChatRequest(messages=[message], **more), stream=False)

    made = body(chat.ContentPart(file=paper), reasoning_effort="minimal")
    source = {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}
    assert made["messages"][0]["content"] == [{"type": "document", "source": source, "title": "a.pdf"}]
    assert made["output_config"] == {"effort": "low"}
    assert "output_config" not in body(chat.ContentPart(text="x"), reasoning_effort="none")
    for unfit in (
        chat.ContentPart(file=chat.File(file_id="f1")),
        chat.ContentPart(file=chat.File(data="data:text/csv;base64,YQ==")),
        chat.ContentPart(audio=chat.Audio(data=b"x", format="wav")),
    ):
        with pytest.raises(faults.Unsupported):
            body(unfit)
