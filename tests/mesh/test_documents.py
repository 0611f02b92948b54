"""Documents over HTTP and by the command, in a mesh that follows a folder: asked with citations, changed, asked again."""

import json
from collections.abc import Awaitable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from playwright.async_api import Browser, expect

from services.mesh.running import admin_key
from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh, running
from tests.peers.provider import provider
from tests.support.waiting import eventually

PUT = {"content-type": "text/markdown; charset=utf-8"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def library(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh of its own, whose settings name a source."""
    config = tmp_path_factory.mktemp("config") / "own.yaml"
    source = {"url": f"folder:{shelf}", "tenant": "dev", "collection": "shelf"}
    next_one = {"store": f"edge:{config.parent / 'next'}", "dense": "texts", "dimensions": 2}
    retrieval = {"sources": {"shelf": source}, "pii": {"strict": "refuse"}, "generations": {"next": next_one}}
    with provider() as peer:
        prices = {"input": "1", "output": "1"}
        texts = {"provider": "test", "model": "texts", "base_url": peer.url, "embeddings": True, "prices": prices}
        config.write_text(yaml.safe_dump({"retrieval": retrieval, "models": {"catalogue": {"texts": texts}}}))
        with running(peer, TOLLWAY_CONFIG=str(config)) as made:
            yield made


async def test_a_file_is_answered_from_and_a_change_is_seen(library: Mesh, shelf: Path) -> None:
    name = uuid4().hex
    (shelf / f"{name}.md").write_text(f"# {name}\n\nThe toll of {name} is nine crowns.")

    async def cited(words: str) -> bool:
        body = asking(f"what is the toll of {name}?", tollway={"grounding": {"collection": "shelf"}})
        answer = await sent(library, body)
        assert answer.status == 200, answer.raw
        system = json.dumps(library.provider.requests[-1]["messages"][0])
        ids = [one["document_id"] for one in answer.json.get("citations", ())]
        assert answer.headers["x-tollway-documents"] == str(len(ids))
        return words in system and ids == [f"{name}.md"]

    await eventually(lambda: cited("nine crowns"), 20)
    (shelf / f"{name}.md").write_text(f"# {name}\n\nThe toll of {name} is ten crowns now.")
    await eventually(lambda: cited("ten crowns"), 20)
    (one,) = (await sent(library, path="/tollway/v1/sources", method="GET")).json["data"]
    assert (one["name"], one["kind"], one["running"], one["fault"]) == ("shelf", "folder", True, "")
    assert library.tollway("retrieval", "sources").stdout.split("\n")[1].startswith("shelf")


async def test_a_cached_answer_lasts_until_its_own_collection_changes(library: Mesh) -> None:
    one, other = f"c{uuid4().hex[:8]}", f"c{uuid4().hex[:8]}"
    body = asking(f"what does the toll of {one} come to?", tollway={"grounding": {"collection": one}})

    async def brought(collection: str, crowns: str) -> None:
        text = f"The toll of {one} is {crowns} crowns.".encode()
        path = f"/tollway/v1/documents/toll.md?collection={collection}"
        assert (await sent(library, raw=text, path=path, method="PUT", headers=PUT)).status == 200

    async def served() -> str:
        return str((await sent(library, body)).headers["x-tollway-cache"])

    await brought(one, "nine")
    await eventually(lambda: _is(served(), "exact"))
    for crowns in ("two", "three"):
        await brought(other, crowns)
        assert await served() == "exact"
    await brought(one, "ten")
    await eventually(lambda: _is(served(), "miss"))


async def _is(told: Awaitable[str], wanted: str) -> bool:
    return await told == wanted


async def test_documents_over_http(library: Mesh) -> None:
    name = f"deep/{uuid4().hex}.md"
    path = f"/tollway/v1/documents/{name}?collection=http&title=Fees&attribute.lang=en"
    text = f"# Fees\n\nLorries of {name} pay nine crowns.".encode()
    made = await sent(library, raw=text, path=path, method="PUT", headers=PUT)
    assert made.status == 200 and made.json["chunks"] == 1, made.raw
    query = {"query": f"what do lorries of {name} pay?", "collection": "http", "attributes": {"lang": "en"}, "limit": 1}
    (found,) = (await sent(library, query, path="/tollway/v1/search")).json["data"]
    assert (found["document_id"], found["version"], found["title"]) == (name, made.json["version"], "Fees")
    listed = await sent(library, path="/tollway/v1/documents?collection=http", method="GET")
    assert name in [one["document_id"] for one in listed.json["data"]]
    gone = await sent(library, path=f"/tollway/v1/documents/{name}?collection=http", method="DELETE")
    assert gone.json == {"document_id": name, "deleted": True}
    assert not (await sent(library, query, path="/tollway/v1/search")).json["data"]


async def test_mistakes_over_http(library: Mesh) -> None:
    bad = await sent(
        library,
        raw=b"%PDF nothing",
        path="/tollway/v1/documents/x.pdf",
        method="PUT",
        headers={"content-type": "application/pdf"},
    )
    assert (bad.status, bad.code) == (422, "unreadable_document") and "no PDF" in bad.json["error"]["message"]
    parked = (await sent(library, path="/tollway/v1/parked", method="GET")).json["data"]
    assert [one["document_id"] for one in parked] == ["x.pdf"]
    again = await sent(library, path="/tollway/v1/parked/x.pdf", method="POST")
    assert "no PDF" in again.json["fault"], again.raw
    for known in (True, False):
        gone = await sent(library, path="/tollway/v1/parked/x.pdf", method="DELETE")
        assert gone.json == {"document_id": "x.pdf", "dropped": known}
    assert (await sent(library, path="/tollway/v1/parked/x.pdf", method="POST")).code == "not_parked"
    assert (await sent(library, path="/tollway/v1/sources/none", method="POST")).status == 404
    assert (await sent(library, path="/tollway/v1/sources/shelf", method="POST")).json == {"name": "shelf"}
    wrong = await sent(
        library, raw=b"x", path="/tollway/v1/documents/x", method="PUT", headers={"content-type": "image/png"}
    )
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "document.media_type")
    assert (await sent(library, {"query": ""}, path="/tollway/v1/search")).json["error"]["param"] == "query"
    assert (await sent(library, {"query": "x", "limit": 0}, path="/tollway/v1/search")).json["error"][
        "param"
    ] == "limit"
    assert (await sent(library, path="/tollway/v1/documents/x", method="POST", raw=b"x")).status == 405


async def test_freshness_stands_on_one_page(library: Mesh, shelf: Path, browser: Browser) -> None:
    (shelf / "ferry.md").write_text("The ferry leaves at noon.")
    (shelf / "torn.json").write_text("{")
    page = await browser.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page broke: {error}"))
    await page.goto(f"{library.url}/console/#documents")
    await page.get_by_label("API key").fill(library.key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("row", name="shelf folder")).to_contain_text("✓ runs", timeout=20_000)
    await expect(page.get_by_role("row", name="torn.json")).to_contain_text("no JSON", timeout=20_000)
    await page.get_by_label("Question").fill("when does the ferry leave?")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("row", name="ferry.md").first).to_contain_text("noon")
    await page.get_by_role("button", name="forget").click()
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("main")).to_contain_text("Nothing is parked")


async def test_personal_data_is_kept_out_where_policy_says_so(library: Mesh) -> None:
    key = library.new_key("strict/app")
    text = b"Write to ann.smith@example.com for a pass."
    kept_out = await sent(
        library, raw=text, path="/tollway/v1/documents/a", method="PUT", headers={"content-type": "text/plain"}, key=key
    )
    assert kept_out.status == 422 and "EMAIL" in kept_out.json["error"]["message"]
    assert b"ann.smith" not in kept_out.raw
    fine = await sent(
        library,
        raw=b"Passes are free.",
        path="/tollway/v1/documents/a",
        method="PUT",
        headers={"content-type": "text/plain"},
        key=key,
    )
    assert fine.status == 200


def test_the_command(library: Mesh, tmp_path: Path) -> None:
    name = uuid4().hex
    (tmp_path / "good.md").write_text(f"Lorries of {name} pay nine crowns.")
    (tmp_path / "bad.json").write_text("{")
    said = ("--fact=lang=en", "--fact=year=2026")
    added = library.tollway("retrieval", "add", str(tmp_path), "--collection=cli", *said)
    assert added.returncode == 1 and "1 documents are searchable" in added.stdout and "parked: bad.json" in added.stdout
    found = library.tollway("retrieval", "search", f"lorries of {name}", "--collection=cli")
    assert "good.md" in found.stdout and "bm25" in found.stdout, found
    for where, there in (("year>=2026", True), ("year<2026", False), ("lang=de|en", True), ("lang!=en", False)):
        asked = ("--where", where, "--where=lang!=fr")
        found = library.tollway("retrieval", "search", f"lorries of {name}", "--collection=cli", *asked)
        assert ("good.md" in found.stdout) is there, (where, found)
    for flaw in ("year", "year>new", "=en"):
        wrong = library.tollway("retrieval", "search", name, "--where", flaw)
        assert wrong.returncode == 1 and flaw in wrong.stderr, wrong
    cases = tmp_path / "week.jsonl"
    cases.write_text(
        json.dumps({"query": f"what do lorries of {name} pay?", "relevant": ["good.md"], "answer": "nine crowns"})
    )
    first = library.tollway("retrieval", "eval", str(cases), "--collection=cli")
    assert "1.0000" in first.stdout and "coverage" in first.stdout and "drift" not in first.stdout, first
    assert "bad.json" in library.tollway("retrieval", "parked", "--collection=cli").stdout
    assert "good.md" in library.tollway("retrieval", "list", "--collection=cli").stdout
    assert ["cli", "1", "1"] in [
        line.split() for line in library.tollway("retrieval", "collections").stdout.splitlines()
    ]
    assert "1 documents removed" in library.tollway("retrieval", "remove", "good.md", "--collection=cli").stdout
    second = library.tollway("retrieval", "eval", str(cases), "--collection=cli", "--most-drift=0.1")
    assert second.returncode == 1 and "drift" in second.stdout and "moved" in second.stdout, second
    assert "cli is gone, with 0 documents" in library.tollway("retrieval", "collections", "--drop=cli").stdout
    assert "there is no collection cli" in library.tollway("retrieval", "collections", "--drop=cli").stderr


async def test_everything_moves_to_a_providers_model(library: Mesh) -> None:
    """The provider's vectors see no difference between texts: the move is refused until it may find less, and then made."""
    body = "Ferries of the moving collection leave at noon."
    put = {"content-type": "text/plain"}
    assert (
        await sent(
            library, raw=body.encode(), path="/tollway/v1/documents/f?collection=moving", method="PUT", headers=put
        )
    ).status == 200
    admin = admin_key(library.state)
    moved = library.tollway("retrieval", "migrate", "next", "--tolerance=1", f"--key={admin}")
    assert moved.returncode == 0 and "next: done" in moved.stdout, moved
    found = await sent(library, {"query": "when do ferries leave?", "collection": "moving"}, path="/tollway/v1/search")
    assert found.json["data"][0]["text"] == body
    usage = (await sent(library, path="/tollway/v1/usage?group_by=model", method="GET", key=admin)).json["data"]
    assert "echo" in json.dumps(usage), "what a provider embeds is paid for"
    again = library.tollway("retrieval", "migrate", "next", f"--key={admin}")
    assert again.returncode == 1 and "searched already" in again.stderr
