"""Vector stores through the official SDK: made, filled from files, searched and taken away."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI

from tests.mesh.client import sent
from tests.mesh.running import Mesh
from tests.retrieval.test_formats import pdf

TOLLS = b"# Tolls\n\nThe toll for lorries on the Brenner road is nine crowns.\n"
FERRY = b"The ferry to the island leaves at noon and costs four crowns."


async def uploaded(client: AsyncOpenAI, name: str, content: bytes) -> str:
    return (await client.files.create(file=(name, content), purpose="assistants")).id


async def test_from_files_to_what_is_found(client: AsyncOpenAI) -> None:
    tolls, ferry = await uploaded(client, "tolls.md", TOLLS), await uploaded(client, "ferry.txt", FERRY)
    store = await client.vector_stores.create(name="Roads", file_ids=[tolls], metadata={"team": "a"})
    assert (store.name, store.status, store.file_counts.completed, store.metadata) == (
        "Roads",
        "completed",
        1,
        {"team": "a"},
    )
    made = await client.vector_stores.files.create_and_poll(
        ferry, vector_store_id=store.id, attributes={"year": 2026, "open": True, "place": "harbour"}
    )
    assert (made.status, made.last_error, made.attributes) == (
        "completed", None, {"year": "2026", "open": "true", "place": "harbour"},
    )  # fmt: skip
    found = [one async for one in client.vector_stores.search(store.id, query="what do lorries pay?")]
    assert found[0].file_id == tolls and found[0].filename == "tolls.md" and "nine crowns" in found[0].content[0].text
    only: Any = {
        "type": "and",
        "filters": [{"type": "eq", "key": "year", "value": 2026}, {"type": "eq", "key": "open", "value": True}],
    }
    found = [
        one async for one in client.vector_stores.search(store.id, query="crowns", filters=only, max_num_results=5)
    ]
    assert [one.file_id for one in found] == [ferry]
    for filters, seen in (
        ({"type": "ne", "key": "place", "value": "harbour"}, [tolls]),
        ({"type": "in", "key": "year", "value": [2025, 2026]}, [ferry]),
        ({"type": "nin", "key": "year", "value": [2025]}, [ferry, tolls]),
        ({"type": "gte", "key": "year", "value": 2026}, [ferry]),
        (
            {
                "type": "and",
                "filters": [{"type": "gt", "key": "year", "value": 2020}, {"type": "lt", "key": "year", "value": 2026}],
            },
            [],
        ),
        ({"type": "or", "filters": [{"type": "eq", "key": "year", "value": 2024}, only]}, [ferry]),
    ):
        asked: Any = filters
        found = [one async for one in client.vector_stores.search(store.id, query="crowns, noon", filters=asked)]
        assert sorted(one.file_id for one in found) == sorted(seen), filters
    texts = [one async for one in client.vector_stores.files.content(ferry, vector_store_id=store.id)]
    assert "leaves at noon" in str(texts[0].text)
    changed = await client.vector_stores.files.update(ferry, vector_store_id=store.id, attributes={"year": 2027})
    assert changed.attributes == {"year": "2027"}
    again = await client.vector_stores.files.retrieve(ferry, vector_store_id=store.id)
    assert again.attributes == {"year": "2027"} and again.vector_store_id == store.id
    gone = await client.vector_stores.files.delete(ferry, vector_store_id=store.id)
    assert gone.deleted and not [
        one async for one in client.vector_stores.search(store.id, query="crowns", filters=only)
    ]
    with pytest.raises(openai.NotFoundError, match="there is no file"):
        await client.vector_stores.files.retrieve(ferry, vector_store_id=store.id)


async def test_a_large_file_is_taken_and_one_too_large_told(client: AsyncOpenAI) -> None:
    pictures = b"\n%" + bytes(40_000_000)  # what no reader of a PDF looks at
    large = await uploaded(client, "large.pdf", pdf("The toll on the old bridge is eleven crowns.") + pictures)
    store = await client.vector_stores.create(file_ids=[large])
    assert store.file_counts.completed == 1
    found = [one async for one in client.vector_stores.search(store.id, query="what is the toll on the bridge?")]
    assert found[0].file_id == large and "eleven crowns" in found[0].content[0].text
    larger = await uploaded(client, "larger.pdf", bytes(50_000_001))
    made = await client.vector_stores.files.create(store.id, file_id=larger)
    assert made.status == "failed" and made.last_error is not None and "at most 50,000,000" in made.last_error.message


async def test_a_store_is_changed_listed_and_deleted(client: AsyncOpenAI) -> None:
    stores = [await client.vector_stores.create(name=f"S{n}", metadata={"n": str(n)}) for n in range(3)]
    changed = await client.vector_stores.update(stores[0].id, name="Better")
    assert (changed.name, changed.metadata, changed.created_at) == ("Better", {"n": "0"}, stores[0].created_at)
    listed = [one.id async for one in client.vector_stores.list(limit=2)]
    assert {one.id for one in stores} <= set(listed) and len(listed) == len(set(listed))
    assert (await client.vector_stores.delete(stores[1].id)).deleted
    for call in (client.vector_stores.retrieve, client.vector_stores.delete):
        with pytest.raises(openai.NotFoundError, match="there is no vector store"):
            await call(stores[1].id)


async def test_a_batch_of_files_tells_how_many_were_taken(client: AsyncOpenAI) -> None:
    store = await client.vector_stores.create()
    files = [await uploaded(client, f"f{n}.txt", f"Line {n} of the book.".encode()) for n in range(3)]
    files.append(await uploaded(client, "broken.pdf", b"no pdf"))
    made = await client.vector_stores.file_batches.create_and_poll(store.id, file_ids=files)
    assert (made.status, made.file_counts.completed, made.file_counts.failed) == ("completed", 3, 1)
    listed = [one async for one in client.vector_stores.files.list(store.id, limit=2)]
    assert {one.id for one in listed} == set(files)
    (bad,) = [one async for one in client.vector_stores.files.list(store.id, filter="failed")]
    assert bad.id == files[3] and bad.last_error is not None and bad.last_error.message
    good = [one async for one in client.vector_stores.files.list(store.id, filter="completed")]
    assert {one.id for one in good} == set(files[:3])
    assert (await client.vector_stores.retrieve(store.id)).file_counts.failed == 1
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.file_batches.retrieve("vsfb_x", vector_store_id=store.id)


async def test_a_file_that_is_not_there_leaves_nothing_half_done(client: AsyncOpenAI) -> None:
    here, gone = await uploaded(client, "here.txt", FERRY), await uploaded(client, "gone.txt", FERRY)
    await client.files.delete(gone)
    name = uuid4().hex
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.create(name=name, file_ids=[here, gone])
    assert name not in [one.name async for one in client.vector_stores.list()]
    store = await client.vector_stores.create()
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.file_batches.create(store.id, file_ids=[here, gone])
    assert not [one async for one in client.vector_stores.files.list(store.id)]


async def test_documents_that_came_another_way_are_there_too(mesh: Mesh, client: AsyncOpenAI) -> None:
    name = f"hand-{uuid4().hex[:6]}"
    body = b"The museum of bridges opens at ten."
    put = await sent(
        mesh, path=f"/tollway/v1/documents/m1?collection={name}&title=Museum", method="PUT", raw=body,
        headers={"content-type": "text/plain"},
    )  # fmt: skip
    assert put.status == 200, put.raw
    found = [one async for one in client.vector_stores.search(name, query="when does the museum open?")]
    assert [(one.file_id, one.filename) for one in found] == [("m1", "Museum")]
    assert name in [one.id async for one in client.vector_stores.list()]


async def test_an_answer_rests_on_stores_and_cites_their_files(mesh: Mesh, client: AsyncOpenAI) -> None:
    tolls, ferry = await uploaded(client, "tolls.md", TOLLS), await uploaded(client, "ferry.txt", FERRY)
    roads, sea = (
        await client.vector_stores.create(file_ids=[tolls]),
        await client.vector_stores.create(file_ids=[ferry]),
    )
    tool: Any = {"type": "file_search", "vector_store_ids": [roads.id, sea.id], "max_num_results": 2}
    asked = (
        f"What do lorries pay on the Brenner road, says [1], and what does the ferry cost, says [2] {uuid4().hex[:4]}?"
    )
    made = await client.responses.create(model="echo", input=asked, tools=[tool])
    sent_on = mesh.provider.requests[-1]["messages"]
    assert "nine crowns" in str(sent_on[0]) and "four crowns" in str(sent_on[0]) and sent_on[-1]["content"] == asked
    call, message = made.output
    assert call.type == "file_search_call" and (call.queries, call.status, call.results) == ([asked], "completed", None)
    assert message.type == "message" and message.content[0].type == "output_text"
    cited = message.content[0].annotations
    assert {one.file_id for one in cited if one.type == "file_citation"} == {tolls, ferry}
    assert all(made.output_text[one.index :].startswith("[") for one in cited if one.type == "file_citation")
    assert made.tools[0].type == "file_search" and made.tools[0].vector_store_ids == [roads.id, sea.id]
    kept = await client.responses.retrieve(made.id)
    assert [one.to_dict() for one in kept.output] == [one.to_dict() for one in made.output]
    more = await client.responses.create(model="echo", input="Thanks", previous_response_id=made.id)
    assert more.output_text == "You said: Thanks"
    items: Any = [*(one.to_dict() for one in made.output), {"role": "user", "content": "So?"}]
    again = await client.responses.create(model="echo", input=items)
    assert again.output_text == "You said: So?"


def made_of_search(said: Any) -> Any:
    (call,) = [one for one in said.output if one.type == "file_search_call"]
    return call.results


async def test_a_streamed_answer_tells_of_the_search_first(client: AsyncOpenAI) -> None:
    file = await uploaded(client, "tolls.md", TOLLS)
    store = await client.vector_stores.create(file_ids=[file])
    tool: Any = {
        "type": "file_search",
        "vector_store_ids": [store.id],
        "filters": {"type": "eq", "key": "none", "value": 1},
    }
    stream = await client.responses.create(model="echo", input="The toll, says [1]", tools=[tool], stream=True)
    events = [one async for one in stream]
    kinds = [one.type for one in events]
    begun = kinds.index("response.file_search_call.searching")
    assert kinds[:2] == ["response.created", "response.in_progress"] and begun < kinds.index(
        "response.output_text.delta"
    )
    whole = events[-1]
    assert whole.type == "response.completed" and [one.type for one in whole.response.output] == [
        "file_search_call",
        "message",
    ]
    assert "response.output_text.annotation.added" not in kinds  # no document has that fact
    other = {
        "type": "or",
        "filters": [{"type": "ne", "key": "none", "value": "1"}, {"type": "in", "key": "a", "value": ["1", "2"]}],
    }
    only: Any = {**tool, "filters": other}
    said: Any = await client.responses.create(model="echo", input="The toll once more, says [1]", tools=[only])
    assert said.tools[0].to_dict()["filters"] == other
    assert [one.filename for one in said.output[1].content[0].annotations] == ["tolls.md"]
    tool.pop("filters")
    assert made_of_search(said) is None
    said = await client.responses.create(
        model="echo", input="And the toll?", tools=[tool], include=["file_search_call.results"]
    )
    (found,) = made_of_search(said)
    assert (found.filename, found.file_id, "nine crowns" in found.text) == ("tolls.md", file, True)
    kept = await client.responses.retrieve(said.id)
    assert made_of_search(kept) == [found]
    stream = await client.responses.create(model="echo", input="The toll again, says [1]", tools=[tool], stream=True)
    events = [one async for one in stream]
    added: list[Any] = [one for one in events if one.type == "response.output_text.annotation.added"]
    assert [one.annotation.filename for one in added] == ["tolls.md"]
    assert [one.sequence_number for one in events] == list(range(len(events)))
    last: Any = events[-1]
    assert last.type == "response.completed"
    assert [one.filename for one in last.response.output[1].content[0].annotations] == ["tolls.md"]


async def test_a_change_of_a_file_is_a_change_of_the_answer(client: AsyncOpenAI) -> None:
    file = await uploaded(client, "tolls.md", TOLLS)
    store = await client.vector_stores.create(file_ids=[file])
    tool: Any = {"type": "file_search", "vector_store_ids": [store.id]}
    asked = f"What is the toll? {uuid4().hex}"

    async def cached() -> str:
        made = await client.responses.with_raw_response.create(model="echo", input=asked, tools=[tool], store=False)
        return str(made.headers["x-tollway-cache"])

    assert [await cached(), await cached()] == ["miss", "exact"]
    await client.vector_stores.files.create_and_poll(await uploaded(client, "new.txt", FERRY), vector_store_id=store.id)
    async with asyncio.timeout(5):  # what has changed is pushed
        while await cached() != "miss":
            await asyncio.sleep(0.05)


async def test_a_store_may_expire(mesh: Mesh, client: AsyncOpenAI) -> None:
    week: Any = {"anchor": "last_active_at", "days": 7}
    made = await client.vector_stores.create(name="for a week", expires_after=week)
    assert made.expires_after is not None and made.expires_after.days == 7
    assert made.last_active_at and made.expires_at == made.last_active_at + 7 * 86_400
    listed = mesh.tollway("retrieval", "collections").stdout
    until = datetime.fromtimestamp(made.expires_at, UTC).strftime("%Y-%m-%d %H:%M")
    assert [one for one in listed.splitlines() if made.id in one and until in one], listed
    renamed = await client.vector_stores.update(made.id, name="still")
    assert renamed.expires_after == made.expires_after and renamed.name == "still"
    kept = await client.vector_stores.update(made.id, expires_after=None)
    assert kept.expires_after is None and kept.expires_at is None
    assert (await client.vector_stores.retrieve(made.id)).expires_after is None


async def test_mistakes_name_their_field(mesh: Mesh, client: AsyncOpenAI) -> None:
    store = (await client.vector_stores.create()).id
    batch = (await client.files.create(file=("b.jsonl", b"{}"), purpose="user_data")).id
    cases: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("", {"expires_after": {"anchor": "last_active_at", "days": 400}}, "expires_after.days"),
        ("", {"expires_after": {"anchor": "created_at", "days": 7}}, "expires_after.anchor"),
        ("", {"expires_after": {"days": 7}}, "expires_after.anchor"),
        ("", {"metadata": {"a": 1}}, "metadata[...]"),
        (f"/{store}/search", {"query": ""}, "query"),
        (f"/{store}/search", {"query": "x", "filters": {"type": "like", "key": "year", "value": 1}}, "filters.type"),
        (f"/{store}/search", {"query": "x", "filters": {"type": "gt", "key": "year", "value": "new"}}, "filters.value"),
        (
            f"/{store}/search",
            {"query": "x", "ranking_options": {"score_threshold": 0.5}},
            "ranking_options.score_threshold",
        ),
        (f"/{store}/files", {"file_id": "file-none"}, "file_id"),
        (f"/{store}/files", {"file_id": f"{batch}-output"}, "file_id"),
        (f"/{store}/file_batches", {}, "file_ids"),
        ("/vs_none/search", {"query": "x"}, "vector_store_id"),
        ("/Not so/files", {"file_id": batch}, "vector_store_id"),
    )
    for path, body, param in cases:
        refused = await sent(mesh, body, path=f"/v1/vector_stores{path}")
        assert refused.status in (400, 404) and refused.json["error"]["param"] == param, (path, body, refused.raw)
    for path in (
        "/v1/vector_stores/%00",
        f"/v1/vector_stores/{store}/files/%00",
        f"/v1/vector_stores/{store}/files/a%00b/content",
    ):
        assert (await sent(mesh, method="GET", path=path)).status == 404, path
    for path in (
        "/v1/vector_stores?after=%00",
        f"/v1/vector_stores/{store}/files?after=%00",
        "/tollway/v1/documents?collection=%00",
    ):
        assert (await sent(mesh, method="GET", path=path)).status == 400, path
    assert (await sent(mesh, {"name": "a\0b"}, path="/v1/vector_stores")).json["error"]["param"] == "name"
    gone = await sent(mesh, method="GET", path=f"/v1/vector_stores/{store}/file_batches/vsfb_0000000f_{'9' * 30}_0")
    assert gone.status == 404
    assert (await sent(mesh, method="GET", path="/v1/vector_stores?limit=0")).json["error"]["param"] == "limit"
    assert (await sent(mesh, method="GET", path=f"/v1/vector_stores/{store}/nothing")).status == 404
    with pytest.raises(openai.BadRequestError, match="allowed are batch, assistants, user_data"):
        await client.files.create(file=("a.txt", b"x"), purpose="vision")


async def test_a_store_is_no_other_tenants(mesh: Mesh, client: AsyncOpenAI) -> None:
    store = (await client.vector_stores.create(name="Ours")).id
    key = mesh.new_key("stranger/app")
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=key, max_retries=0) as other:
        with pytest.raises(openai.NotFoundError):
            await other.vector_stores.retrieve(store)
        assert store not in [one.id async for one in other.vector_stores.list()]
