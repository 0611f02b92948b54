"""The Batch API through the official SDK: a file in, answers and errors out, each under its line's name."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import Batch, Completion, FileObject
from openai.types.responses import Response

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def line(name: str, body: Any, url: str = CHAT) -> str:
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body})


async def uploaded(client: AsyncOpenAI, *lines: str) -> FileObject:
    return await client.files.create(file=("asked.jsonl", "\n".join(lines).encode()), purpose="batch")


async def begun(client: AsyncOpenAI, *lines: str, endpoint: Any = CHAT, **more: Any) -> Batch:
    kept = await uploaded(client, *lines)
    return await client.batches.create(input_file_id=kept.id, endpoint=endpoint, completion_window="24h", **more)


async def over(client: AsyncOpenAI, batch: Batch) -> Batch:
    async with asyncio.timeout(60):
        while batch.status not in ("completed", "failed", "cancelled"):
            await asyncio.sleep(0.1)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def lines_of(client: AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id
    text = (await client.files.content(file_id)).text
    return {one["custom_id"]: one for one in map(json.loads, text.splitlines())}


async def test_a_batch_of_responses(client: AsyncOpenAI) -> None:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
    asked = {
        "model": "echo",
        "input": "one river",
        "instructions": "Be brief.",
        "metadata": {"n": "1"},
        "tools": [tool],
    }
    going_on = {"model": "echo", "input": "x", "previous_response_id": "resp_1"}
    lines = [
        line("a", asked, RESPONSES), line("b", {"model": "echo"}, RESPONSES), line("c", going_on, RESPONSES),
    ]  # fmt: skip
    done = await over(client, await begun(client, *lines, endpoint=RESPONSES))
    answers, errors = await lines_of(client, done.output_file_id), await lines_of(client, done.error_file_id)
    made = Response.model_validate(answers["a"]["response"]["body"])
    assert made.output_text == "You said: one river" and made.instructions == "Be brief." and made.tools
    assert made.metadata == {"n": "1"} and made.status == "completed" and list(answers) == ["a"]
    assert (await client.responses.retrieve(made.id)).output == made.output
    told = {name: one["response"]["body"]["error"] for name, one in errors.items()}
    assert "input" in told["b"]["message"] and "previous_response_id" in told["c"]["message"]
    assert told["c"]["code"] == "unsupported_value"


async def test_a_batch_from_file_to_answers(client: AsyncOpenAI) -> None:
    lines = [line(f"l{n}", asking(f"number {n}")) for n in range(12)]
    lines.insert(3, "")
    batch = await begun(client, *lines, metadata={"order": "4711"})
    assert (batch.status, batch.metadata, batch.completion_window) == ("in_progress", {"order": "4711"}, "24h")
    done = await over(client, batch)
    assert done.status == "completed" and done.error_file_id is None and done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (12, 12, 0)
    answers = await lines_of(client, done.output_file_id)
    assert list(answers) == [f"l{n}" for n in range(12)]
    for n in range(12):
        response = answers[f"l{n}"]["response"]
        assert response["status_code"] == 200 and response["request_id"] and answers[f"l{n}"]["error"] is None
        assert f"number {n}" in response["body"]["choices"][0]["message"]["content"]
    made = await client.files.retrieve(done.output_file_id or "")
    assert made.purpose == "batch_output" and made.bytes == len((await client.files.content(made.id)).content)


async def test_each_line_fails_by_itself(client: AsyncOpenAI) -> None:
    batch = await begun(
        client,
        line("good", asking("hello there")),
        line("nothing", {"model": "echo"}),
        line("hot", {**asking("x"), "temperature": 9}),
        line("stranger", asking("x", model="gpt-99")),
        line("piecemeal", asking("x", stream=True)),
    )
    done = await over(client, batch)
    assert done.request_counts is not None and (done.request_counts.completed, done.request_counts.failed) == (1, 4)
    assert list(await lines_of(client, done.output_file_id)) == ["good"]
    errors = await lines_of(client, done.error_file_id)
    told = {
        name: (one["response"]["status_code"], one["response"]["body"]["error"]["code"]) for name, one in errors.items()
    }
    assert told == {
        "nothing": (400, "missing_required_parameter"),
        "hot": (400, "invalid_value"),
        "stranger": (404, "model_not_found"),
        "piecemeal": (400, "invalid_value"),
    }


async def test_embeddings_in_a_batch(client: AsyncOpenAI) -> None:
    url = "/v1/embeddings"
    batch = await begun(client, line("v", {"model": "static", "input": ["a b", "c"]}, url), endpoint=url)
    answers = await lines_of(client, (await over(client, batch)).output_file_id)
    assert len(answers["v"]["response"]["body"]["data"]) == 2


async def test_a_batch_of_texts_to_go_on_from(client: AsyncOpenAI) -> None:
    url = "/v1/completions"
    lines = [
        line("one", {"model": "story", "prompt": "Once upon a bridge", "max_tokens": 9}, url),
        line("two", {"model": "story", "prompt": ["a", "b"]}, url),
        line("piecemeal", {"model": "story", "prompt": "a", "stream": True}, url),
    ]
    done = await over(client, await begun(client, *lines, endpoint=url))
    answers, errors = await lines_of(client, done.output_file_id), await lines_of(client, done.error_file_id)
    made = Completion.model_validate(answers["one"]["response"]["body"])
    assert (made.object, made.choices[0].text) == ("text_completion", " and bridge") and made.usage is not None
    told = {name: one["response"]["body"]["error"]["message"] for name, one in errors.items()}
    assert sorted(told) == ["piecemeal", "two"] and "prompt" in told["two"] and "stream" in told["piecemeal"]


async def test_a_batch_of_texts_to_judge(client: AsyncOpenAI) -> None:
    url = "/v1/moderations"
    lines = [
        line("bad", {"model": "censor", "input": ["I will find you and hurt you.", "Otters sleep."]}, url),
        line("any", {"input": "Otters sleep on their backs."}, url),
        line("seen", {"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}, url),
    ]
    done = await over(client, await begun(client, *lines, endpoint=url))
    answers, errors = await lines_of(client, done.output_file_id), await lines_of(client, done.error_file_id)
    bad, harmless = (answers[name]["response"]["body"] for name in ("bad", "any"))
    assert [one["flagged"] for one in bad["results"]] == [True, False] and bad["results"][0]["categories"]["violence"]
    assert harmless["model"] == "censor" and not harmless["results"][0]["flagged"]
    assert list(errors) == ["seen"] and errors["seen"]["response"]["status_code"] == 400


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["{not json"], "line 1 of the file"),
        ([line("a", {}), json.dumps({"method": "POST", "url": CHAT, "body": {}})], "line 2 of the file: missing"),
        ([line("a", {}, "/v1/embeddings")], "line 1 of the file: invalid value for url"),
        ([line("a", asking("x")), line("a", asking("y"))], "two lines are called a"),
        ([""], "the file has no lines"),
    ],
)
async def test_a_file_that_cannot_be_a_batch(client: AsyncOpenAI, lines: list[str], why: str) -> None:
    with pytest.raises(openai.BadRequestError, match=why):
        await begun(client, *lines)


async def test_the_same_key_gives_the_same_batch(client: AsyncOpenAI) -> None:
    kept = await uploaded(client, line("one", asking("once only")))
    asked: Any = {"input_file_id": kept.id, "endpoint": CHAT, "completion_window": "24h"}
    same = {"Idempotency-Key": "batch-of-november"}
    first = await client.batches.create(**asked, extra_headers=same)
    assert (await client.batches.create(**asked, extra_headers=same)).id == first.id
    assert (await client.batches.create(**asked)).id != first.id


async def test_batches_and_files_are_listed_page_by_page(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = [await begun(client, line("one", asking())) for _ in range(3)]
    listed = [one.id async for one in client.batches.list(limit=2)]
    assert listed[:3] == [one.id for one in reversed(made)]
    files = [one.id async for one in client.files.list(limit=2, purpose="batch")]
    assert files[0] == made[-1].input_file_id
    stranger = AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.new_key("stranger/app"), max_retries=0)
    async with stranger:
        assert [one async for one in stranger.batches.list()] == []
        for call in (stranger.batches.retrieve(made[0].id), stranger.files.content(made[0].input_file_id)):
            with pytest.raises(openai.NotFoundError):
                await call
    many = "&".join(f"a{n}=1" for n in range(40))
    refused = await sent(mesh, method="GET", path=f"/v1/batches?{many}")
    assert (refused.status, refused.code) == (400, "invalid_value")
    await client.files.delete(files[0])
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(files[0])


async def test_a_batch_that_is_cancelled(client: AsyncOpenAI) -> None:
    batch = await begun(client, *(line(f"l{n}", asking(model="slow")) for n in range(40)))
    assert (await client.batches.cancel(batch.id)).status == "cancelled"
    found = await client.batches.retrieve(batch.id)
    errors = await lines_of(client, found.error_file_id)
    assert {one["error"]["code"] for one in errors.values()} == {"batch_cancelled"}


async def test_uploads_that_are_refused(mesh: Mesh) -> None:
    def form(*fields: tuple[str, str], file: str = "file") -> bytes:
        parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
        if file:
            parts.append(f'--b\r\nContent-Disposition: form-data; name="{file}"; filename="f"\r\n\r\nx\r\n')
        return ("".join(parts) + "--b--\r\n").encode()

    kind = {"content-type": "multipart/form-data; boundary=b"}
    batch = ("purpose", "batch")
    for raw, headers, status, code in (
        (form(batch), {"content-type": "application/json"}, 415, "unsupported_content_type"),
        (form(("purpose", "fine-tune")), kind, 400, "invalid_value"),
        (form(batch, file=""), kind, 400, "missing_required_parameter"),
        (form(("purpose", "b" * 2000)), kind, 400, "invalid_value"),
        (form(batch)[:-6], kind, 400, "invalid_multipart"),
        (form(batch, ("expires_after[seconds]", "99999999")), kind, 400, "invalid_value"),
    ):
        answer = await sent(mesh, raw=raw, path="/v1/files", headers=headers)
        assert (answer.status, answer.code) == (status, code), raw
    assert (await sent(mesh, raw=form(batch), path="/v1/files", headers=kind)).status == 200
