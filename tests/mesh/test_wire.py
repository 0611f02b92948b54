"""OpenAI's wire, as the edge speaks it: every answer keeps the published schema, every refusal is an error body."""

import asyncio
import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.encoder.transformer import BGE_SMALL
from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh
from tests.support.waiting import until

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


async def test_an_answer_keeps_the_published_schema(mesh: Mesh) -> None:
    answer = await sent(mesh, asking())
    made = ChatCompletion.model_validate(answer.json, strict=True)
    assert made.choices[0].finish_reason == "stop" and made.usage is not None and made.usage.total_tokens == 15
    assert answer.json["choices"][0]["message"]["refusal"] is None
    assert {"logprobs", "index"} <= answer.json["choices"][0].keys() and answer.json["service_tier"] is None


async def test_every_event_of_a_stream_keeps_it_too(mesh: Mesh) -> None:
    answer = await sent(mesh, asking(stream=True, stream_options={"include_usage": True}))
    *events, done = answer.events
    assert done == "[DONE]" and answer.headers["content-type"].startswith("text/event-stream")
    chunks = [ChatCompletionChunk.model_validate(event) for event in events]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all("usage" in event for event in events) and chunks[-1].choices == []
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]


async def test_no_usage_event_without_asking(mesh: Mesh) -> None:
    answer = await sent(mesh, asking(stream=True))
    assert all(event == "[DONE]" or event["choices"] for event in answer.events)


async def test_tool_calls_in_one_piece_and_streamed(mesh: Mesh) -> None:
    answer = await sent(mesh, asking("find it", "tools", tools=[TOOL]))
    made = ChatCompletion.model_validate(answer.json)
    assert made.choices[0].finish_reason == "tool_calls" and made.choices[0].message.content is None
    streamed = await sent(mesh, asking("find that", "tools", tools=[TOOL], stream=True))
    deltas = [event["choices"][0]["delta"] for event in streamed.events if event != "[DONE]"]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls[0]["id"] == "call_1" and calls[0]["function"]["name"] == "look"
    assert json.loads("".join(call["function"].get("arguments", "") for call in calls)) == {"text": "find that"}


async def test_what_is_asked_reaches_the_provider_as_it_was(mesh: Mesh) -> None:
    body = asking(
        temperature=0.5, top_p=0.9, seed=-7, stop=["END", "FIN"], presence_penalty=-1.5, frequency_penalty=0.25,
        logit_bias={"50256": -100}, max_completion_tokens=64, user="u-1", tools=[TOOL], tool_choice="auto",
        parallel_tool_calls=False, n=1, logprobs=True, top_logprobs=2,
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True}},
        top_k=20, min_p=0.05, repetition_penalty=1.1, chat_template_kwargs={"enable_thinking": False, "depth": 3, "style": "brief"},
    )  # fmt: skip
    assert (await sent(mesh, body)).status == 200
    got = mesh.provider.requests[-1]
    same = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "user", "logprobs",
            "top_logprobs", "parallel_tool_calls", "response_format", "top_k", "min_p", "repetition_penalty",
            "chat_template_kwargs")  # fmt: skip
    assert {name: got[name] for name in same} == {name: body[name] for name in same}
    assert got["max_tokens"] == 64 and got["logit_bias"] == {"50256": -100.0}


@pytest.mark.parametrize("streamed", [False, True])
async def test_sound_is_told_apart_in_usage_and_in_the_books(mesh: Mesh, tmp_path: Path, streamed: bool) -> None:
    account = f"loud/{'streamed' if streamed else 'whole'}"
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF" * 300).decode(), "format": "wav"}}
    body = asking(service_tier="flex")
    if streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    body["messages"][-1]["content"] = [{"type": "text", "text": "what is said here?"}, sound]
    answer = await sent(mesh, body, key=mesh.new_key(account))
    said = answer.events[-2] if streamed else answer.json
    assert answer.status == 200 and said["usage"]["prompt_tokens_details"] == {
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "audio_tokens": 8,
    }
    books = tmp_path / "books.csv"
    await until(lambda: mesh.tollway("usage", "export", account, f"--to={books}").returncode == 0
                and "audio_input=8" in books.read_text())  # fmt: skip


async def test_parts_pictures_and_earlier_turns_go_along(mesh: Mesh) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://e.org/x.png"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]  # fmt: skip
    answer = await sent(mesh, {"model": "echo", "messages": messages})
    got = mesh.provider.requests[-1]["messages"]
    assert answer.status == 200 and [one["role"] for one in got] == ["system", "user", "assistant", "tool"]
    assert got[1]["content"][1]["image_url"]["url"] == "https://e.org/x.png" and got[3]["tool_call_id"] == "c"


BAD: list[tuple[Any, str, str]] = [
    ({"messages": [{"role": "user", "content": "x"}]}, "missing_required_parameter", "model"),
    ({"model": "echo"}, "missing_required_parameter", "messages"),
    ({**asking(), "messages": []}, "invalid_value", "messages"),
    ({**asking(), "messages": [{"role": "robot", "content": "x"}]}, "invalid_value", "messages[0].role"),
    ({**asking(), "messages": [{"role": "user", "content": 7}]}, "invalid_value", "messages[0].content"),
    ({**asking(), "temperature": 3}, "invalid_value", "temperature"),
    ({**asking(), "temperature": "hot"}, "invalid_value", "temperature"),
    ({**asking(), "n": 0}, "invalid_value", "n"),
    ({**asking(), "max_tokens": -1}, "invalid_value", "max_tokens"),
    ({**asking(), "seed": 1 << 70}, "invalid_value", "seed"),
    ({**asking(), "top_k": 0}, "invalid_value", "top_k"),
    ({**asking(), "min_p": 2}, "invalid_value", "min_p"),
    ({**asking(), "repetition_penalty": 0}, "invalid_value", "repetition_penalty"),
    ({**asking(), "chat_template_kwargs": {"x": "a text of ann@example.com"}}, "invalid_value", "chat_template_kwargs[...]"),
    ({**asking(), "stream": "yes"}, "invalid_value", "stream"),
    ({**asking(), "colour": "red"}, "unknown_parameter", "colour"),
    ({**asking(), "tool_choice": "sometimes"}, "invalid_value", "tool_choice"),
    ({**asking(), "stop": ["a"] * 17}, "invalid_value", "stop"),
    ({**asking(), "tollway": {"cache": {"colour": 1}}}, "unknown_parameter", "tollway.cache.colour"),
    ({**asking(), "tools": [{"type": "function", "function": {"name": ""}}]}, "invalid_value", "tools[0].function.name"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "param"), BAD, ids=[f"{code}-{param}" for _, code, param in BAD])
async def test_a_bad_field_is_named(mesh: Mesh, body: Any, code: str, param: str) -> None:
    answer = await sent(mesh, body)
    error = answer.json["error"]
    assert (answer.status, error["code"], error["param"]) == (400, code, param), answer.raw
    assert error["type"] == "invalid_request_error" and error["message"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b'{"model": "echo", "messages": [}', b"null", b"[" * 5000]
)
async def test_what_is_no_json_object(mesh: Mesh, raw: bytes) -> None:
    answer = await sent(mesh, raw=raw)
    assert answer.status == 400 and answer.code in ("invalid_json", "invalid_type")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/echo", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1/models/unheard-of", 404, "model_not_found"),
    ],
)
async def test_wrong_paths_and_methods(mesh: Mesh, method: str, path: str, status: int, code: str) -> None:
    answer = await sent(mesh, method=method, path=path)
    assert (answer.status, answer.code) == (status, code)
    assert (status == 405) == ("allow" in answer.headers)


@pytest.mark.parametrize("key", ["", "tw_wrong", "sk-other", "a.b.c"])
async def test_a_missing_or_wrong_key(mesh: Mesh, key: str) -> None:
    answer = await sent(mesh, asking(), key=key)
    assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["error"]["code"] in ("missing_api_key", "invalid_api_key")


async def test_a_key_for_some_models_asks_no_other(mesh: Mesh) -> None:
    key = mesh.new_key("narrow/app", "--model=echo")
    assert (await sent(mesh, asking(), key=key)).status == 200
    refused = await sent(mesh, asking(model="quiet"), key=key)
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (403, "model_not_allowed", "model")
    listed = await sent(mesh, method="GET", path="/v1/models", key=key)
    assert [one["id"] for one in listed.json["data"]] == ["auto", "echo"]


async def test_an_unknown_model(mesh: Mesh) -> None:
    answer = await sent(mesh, asking(model="gpt-99"))
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (404, "model_not_found", "model")


def nested(depth: int) -> str:
    return f'{{"a": {"[" * depth}{"]" * depth}}}'


FUNCTION = '"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "tools": ['


@pytest.mark.parametrize("depth", [300, 5000])
@pytest.mark.parametrize(
    ("path", "start", "end"),
    [
        ("/v1/chat/completions", FUNCTION + '{"type": "function", "function": {"name": "f", "parameters": ', "}}]}"),
        ("/v1/messages", FUNCTION + '{"name": "f", "input_schema": ', "}]}"),
        ("/v1/responses", '"input": "x", "tools": [{"type": "function", "name": "f", "parameters": ', "}]}"),
        (
            "/v1/chat/completions",
            '"messages": [{"role": "user", "content": "x"}], "prompt": {"id": "p", "variables": ',
            "}}",
        ),
        ("/v1/responses", '"input": "x", "text": {"format": {"type": "json_schema", "name": "s", "schema": ', "}}}"),
        ("/v1/embeddings", '"input": ', "}"),
    ],
)
async def test_what_is_nested_too_deeply(mesh: Mesh, path: str, start: str, end: str, depth: int) -> None:
    raw = f'{{"model": "echo", {start}{nested(depth)}{end}'.encode()
    answer = await sent(mesh, raw=raw, path=path)
    assert answer.status == 400, answer.raw


async def test_a_body_that_is_too_large(mesh: Mesh) -> None:
    answer = await sent(mesh, raw=b" " * ((24 << 20) + 1))
    assert (answer.status, answer.code) == (413, "request_too_large")


async def test_who_writes_the_whole_body_before_reading_is_told_too(mesh: Mesh) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(mesh.url.rsplit(":", 1)[1]))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer {mesh.key}\r\n"
    writer.write(f"{head}content-length: {40 << 20}\r\n\r\n".encode())
    for _ in range(40):
        writer.write(b" " * (1 << 20))
        await writer.drain()
    assert b" 413 " in await reader.readline()
    assert b"request_too_large" in await reader.read()
    writer.close()


async def test_more_text_than_is_inspected(mesh: Mesh) -> None:
    answer = await sent(mesh, asking("word " * 250_000))
    assert (answer.status, answer.code) == (413, "text_too_large")


async def test_packed_bodies_and_bombs(mesh: Mesh) -> None:
    body = json.dumps(asking("packed")).encode()
    for packing, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        assert (await sent(mesh, raw=packed, headers={"content-encoding": packing})).status == 200
    bomb = gzip.compress(b" " * (200 << 20))
    assert (await sent(mesh, raw=bomb, headers={"content-encoding": "gzip"})).code == "request_too_large"
    assert (await sent(mesh, raw=b"no gzip", headers={"content-encoding": "gzip"})).code == "invalid_encoding"
    assert (await sent(mesh, raw=gzip.compress(body)[:-9], headers={"content-encoding": "gzip"})).status == 400
    assert (await sent(mesh, raw=body, headers={"content-encoding": "br"})).status == 415


async def test_a_busy_provider_keeps_its_retry_after(mesh: Mesh) -> None:
    for stream in (False, True):
        answer = await sent(mesh, asking(model="busy", stream=stream))
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 7


async def test_a_broken_provider_is_a_gateways_error_and_tells_nothing(mesh: Mesh) -> None:
    answer = await sent(mesh, asking(model="broken"))
    assert (answer.status, answer.code) == (502, "provider_broke") and b"hunter2" not in answer.raw
    shapeless = await sent(mesh, asking(model="shapeless"))
    assert (shapeless.status, shapeless.code) == (502, "provider_broke")


async def test_a_stream_that_breaks_never_ends_cleanly(mesh: Mesh) -> None:
    answer = await sent(mesh, asking(model="cut", stream=True))
    assert answer.status == 200 and b"[DONE]" not in answer.raw
    last = answer.events[-1]
    assert last["error"]["code"] == "provider_broke" and b"event: error" in answer.raw


async def test_usage_that_the_provider_leaves_out_is_counted(mesh: Mesh) -> None:
    for stream in (False, True):
        answer = await sent(
            mesh, asking(model="quiet", stream=stream, stream_options={"include_usage": True} if stream else None)
        )
        usage = answer.events[-2]["usage"] if stream else answer.json["usage"]
        assert usage["prompt_tokens"] > 3 and usage["completion_tokens"] > 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_cancels_the_provider(mesh: Mesh, stream: bool) -> None:
    before, model = mesh.provider.left, "endless" if stream else "slow"
    count = len(mesh.provider.requests)
    task = asyncio.create_task(sent(mesh, asking(model=model, stream=stream)))
    await until(lambda: len(mesh.provider.requests) > count)
    await asyncio.sleep(0.1)
    task.cancel()
    await until(lambda: mesh.provider.left > before, within_s=3.0)


async def test_models_are_listed(mesh: Mesh) -> None:
    listed = await sent(mesh, method="GET", path="/v1/models")
    names = [Model.model_validate(one).id for one in listed.json["data"]]
    assert {"auto", "echo", "minilm", "static"} <= set(names)
    assert ("bge-small" in names) == BGE_SMALL.file.exists()
    one = await sent(mesh, method="GET", path="/v1/models/echo")
    assert one.json == {"id": "echo", "object": "model", "created": 0, "owned_by": "test"}


async def test_embeddings_by_the_meshs_own_encoder(mesh: Mesh) -> None:
    answer = await sent(mesh, {"model": "minilm", "input": ["a cat", "a dog"]}, path="/v1/embeddings")
    made = CreateEmbeddingResponse.model_validate(answer.json)
    assert [len(one.embedding) for one in made.data] == [384, 384] and made.usage.prompt_tokens > 0
    better = await sent(mesh, {"model": "bge-small", "input": "a cat"}, path="/v1/embeddings")
    if BGE_SMALL.file.exists():
        assert better.json["model"] == "bge-small" and better.json["data"][0]["embedding"] != made.data[0].embedding
    else:
        assert (better.status, better.code) == (404, "model_not_found")
    cut = await sent(mesh, {"model": "static", "input": "a cat", "dimensions": 64}, path="/v1/embeddings")
    values = cut.json["data"][0]["embedding"]
    assert len(values) == 64 and sum(value * value for value in values) == pytest.approx(1, abs=1e-3)
    many = await sent(mesh, {"model": "minilm", "input": "x", "dimensions": 999}, path="/v1/embeddings")
    assert (many.status, many.json["error"]["param"]) == (400, "dimensions")
    empty = await sent(mesh, {"model": "minilm", "input": ["x", ""]}, path="/v1/embeddings")
    assert (empty.status, empty.json["error"]["param"]) == (400, "input")


async def test_the_caches_controls(mesh: Mesh) -> None:
    body = asking()
    assert (await sent(mesh, body, headers={"x-tollway-cache": "only-if-cached"})).code == "not_cached"
    await sent(mesh, body, headers={"x-tollway-cache": "no-store"})
    assert (await sent(mesh, body)).headers["x-tollway-cache"] == "miss"
    assert (await sent(mesh, body, headers={"x-tollway-cache": "no-cache"})).headers["x-tollway-cache"] == "miss"
    assert (await sent(mesh, body, headers={"x-tollway-cache": "only-if-cached"})).status == 200
    for name, value in (
        ("x-tollway-cache", "sometimes"),
        ("x-tollway-priority", "urgent"),
        ("x-tollway-labels", "gold"),
        ("x-tollway-labels", "=gold"),
        ("x-tollway-labels", f"{'n' * 65}=1"),
        ("x-tollway-labels", ",".join(f"l{n}=1" for n in range(17))),
        ("x-tollway-context-tokens", "-1"),
        ("x-tollway-context-tokens", "fits"),
    ):
        refused = await sent(mesh, body, headers={name: value})
        assert (refused.status, refused.json["error"]["param"]) == (400, name)
    for most in (4000, "fit"):
        fine = await sent(mesh, {**body, "tollway": {"priority": "low", "context_tokens": most}})
        assert fine.status == 200
    assert (await sent(mesh, body, headers={"x-tollway-context-tokens": "fit"})).status == 200


async def test_health_needs_no_key(mesh: Mesh) -> None:
    assert (await sent(mesh, method="GET", path="/healthz", key="")).status == 200
    assert (await sent(mesh, method="GET", path="/readyz", key="")).json == {"status": "ready"}


async def test_a_revoked_key_stops_within_a_second(mesh: Mesh) -> None:
    key = mesh.new_key("leaver/app")
    assert (await sent(mesh, asking(), key=key)).status == 200
    key_id = next(
        line.split()[0] for line in mesh.tollway("keys", "list", "leaver").stdout.splitlines() if "leaver" in line
    )
    mesh.tollway("keys", "revoke", key_id)
    await asyncio.sleep(1.0)
    assert (await sent(mesh, asking(), key=key)).status == 401


async def test_traces_are_for_administrators(mesh: Mesh) -> None:
    answer = await sent(mesh, asking(), headers={"x-tollway-trace": "1"})
    path = f"/tollway/v1/traces/{answer.headers['x-tollway-trace']}"
    assert (await sent(mesh, method="GET", path=path)).status == 403
    admin = mesh.new_key("operator/tests", "--admin")
    found = await sent(mesh, method="GET", path=path, key=admin)
    assert {"edge", "tollway"} <= {span["name"].split(" ")[0].split(".")[0] for span in found.json["spans"]}
    assert (await sent(mesh, method="GET", path="/tollway/v1/traces/nonsense", key=admin)).status == 400
    assert (await sent(mesh, method="GET", path="/tollway/v1/traces/" + "1" * 32, key=admin)).status == 404


async def test_a_nul_in_what_a_caller_says_of_a_request_stops_no_accounts(mesh: Mesh) -> None:
    account = f"nul-{uuid4().hex[:8]}"
    key = await asyncio.to_thread(mesh.new_key, account)
    said = asking(metadata={"a\0": "b\0c"}, user="an\0n")
    assert (await sent(mesh, said, key=key)).status == 200
    assert (await sent(mesh, asking(metadata={"a": "after"}), key=key)).status == 200

    async def told() -> list[dict[str, str]]:
        listed = (await sent(mesh, path="/tollway/v1/entries", method="GET", key=key)).json["data"]
        return [one["tags"] for one in listed]

    for _ in range(100):
        if len(tags := await told()) == 2:
            break
        await asyncio.sleep(0.1)
    assert {one["a"] for one in tags if "a" in one} == {"after"}
    assert [one["a\ufffd"] for one in tags if "a\ufffd" in one] == ["b\ufffdc"]
