"""Sources that are real: a folder, PostgreSQL, three brokers, a server that speaks S3's wire."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import botocore.session
import pytest
from moto.server import ThreadedMotoServer

from services.retrieval.sources import SourceSettings, SourceUnknown, opened, readable
from services.retrieval.sources.folder import FRESH_S
from services.runtime import brokers
from services.runtime.background import running
from services.runtime.brokers import BrokerAway
from tests.retrieval.whole import Whole
from tests.support.waiting import eventually, until

DDL = (Path(__file__).parents[2] / "docs" / "outbox.sql").read_text()


@asynccontextmanager
async def reading(url: str, **more: Any) -> AsyncIterator[Whole]:
    made = Whole(
        sources={"files": SourceSettings(url=url, tenant="acme", **{"collection": "c", "every_s": 0.1, **more})}
    )
    try:
        async with running(made.keeper.run()):
            yield made
    finally:
        await made.intake.aside.close()


async def holds(whole: Whole, *ids: str, parked: tuple[str, ...] = ()) -> None:
    """Waits until exactly these documents are searchable, and those parked."""

    async def so() -> bool:
        rows = await whole.catalogue.page("acme", "", "", ("", ""), 1000)
        bad = await whole.catalogue.parked("acme", "", ("", ""), 1000)
        return {one.document_id for one in rows} == set(ids) and {one.document_id for one in bad} == set(parked)

    await eventually(so, 30)


async def test_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Fees\n\nLorries pay nine crowns.")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("The bridge closes at ten.")
    (tmp_path / ".hidden.txt").write_text("nobody's")
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "picture.png").write_bytes(b"x")
    async with reading(f"folder:{tmp_path}", link="https://docs.example/") as whole:
        await holds(whole, "a.md", "deep/b.txt", parked=("c.json",))
        assert "Lorries pay nine crowns." in (await whole.found("lorries"))[0]
        (tmp_path / "a.md").write_text("# Fees\n\nLorries pay ten crowns now.")
        (tmp_path / "c.json").write_text('{"open": true}')
        (tmp_path / "deep" / "b.txt").unlink()
        (tmp_path / "d.py").write_text("def toll():\n    return 9\n")
        await holds(whole, "a.md", "c.json", "d.py")
        assert "ten crowns" in (await whole.found("lorries"))[0] and not any(
            "bridge" in one for one in await whole.found("bridge")
        )
        (row, *_) = await whole.catalogue.page("acme", "c", "files", ("", ""), 1)
        assert row.uri == "https://docs.example/a.md" and row.source == "files" and row.changed > 0
        (tmp_path / "deep" / "deeper").mkdir()
        (tmp_path / "deep" / "deeper" / "e.txt").write_text("Deep down.")
        await holds(whole, "a.md", "c.json", "d.py", "deep/deeper/e.txt")
        (tmp_path / "deep").rename(tmp_path / "moved")
        await holds(whole, "a.md", "c.json", "d.py", "moved/deeper/e.txt")
        kept = whole.keeper.kept["files"]
        assert kept.running and not kept.fault and len(kept.lags) >= 7


async def test_a_folder_that_changed_meanwhile_is_compared_and_nothing_is_read_twice(tmp_path: Path) -> None:
    for name, text in (("a.txt", "One."), ("b.txt", "Two.")):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (0, 0))
    whole = Whole(sources={"files": SourceSettings(url=f"folder:{tmp_path}", tenant="acme", collection="c")})
    async with running(whole.keeper.run()):
        await holds(whole, "a.txt", "b.txt")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "c.txt").write_text("Three.")
    seen = len(whole.keeper.kept["files"].lags)
    async with running(whole.keeper.run()):
        await holds(whole, "a.txt", "c.txt")
    assert len(whole.keeper.kept["files"].lags) == seen + 2


async def test_a_file_that_changes_twice_within_a_tick_of_its_clock_is_read_again(tmp_path: Path) -> None:
    """Neither its time nor its size tells."""
    file = tmp_path / "a.txt"
    whole = Whole(sources={"files": SourceSettings(url=f"folder:{tmp_path}", tenant="acme", collection="c")})
    file.write_text("One.")
    at = file.stat().st_mtime_ns

    async def saying(text: str) -> None:
        async def so() -> bool:
            return [one.text for one in await whole.store.of_document("acme", "c", "a.txt")] == [text]

        await eventually(so, 30)

    async with running(whole.keeper.run()):
        await saying("One.")
        file.write_text("Two.")
        os.utime(file, ns=(at, at))
        await saying("Two.")
    file.write_text("Six.")
    os.utime(file, ns=(at, at))  # while nobody looks
    async with running(whole.keeper.run()):
        await saying("Six.")
        await asyncio.sleep(FRESH_S)
        (tmp_path / "b.txt").write_text("B.")
        await holds(whole, "a.txt", "b.txt")
    assert max(whole.keeper.kept["files"].lags) < FRESH_S


async def test_links_do_not_lead_out_of_a_folder_and_large_files_are_parked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret.txt").write_text("secret")
    inside = tmp_path / "in"
    inside.mkdir()
    os.symlink(tmp_path / "out" / "secret.txt", inside / "link.txt")
    (inside / "large.txt").write_bytes(b"x" * 8_000_001)
    (inside / "fine.txt").write_text("Fine.")
    async with reading(f"folder:{inside}") as whole:
        await holds(whole, "fine.txt", parked=("large.txt",))


async def test_a_folder_that_is_not_there_is_told_and_waited_for(tmp_path: Path) -> None:
    async with reading(f"folder:{tmp_path}/later") as whole:
        await until(lambda: "is no folder" in whole.keeper.kept["files"].fault)
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a.txt").write_text("Here.")
        await holds(whole, "a.txt")


async def test_resync_reads_everything_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.")
    async with reading(f"folder:{tmp_path}") as whole:
        await holds(whole, "a.txt")
        await whole.store.remove("acme", "c", ["a.txt"])  # a store that was lost
        await whole.keeper.resync("acme", "files")
        async with asyncio.timeout(20):
            while not await whole.found("one"):
                await asyncio.sleep(0.05)
        with pytest.raises(SourceUnknown):
            await whole.keeper.resync("other", "files")


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(postgres_url)
    await made.execute(DDL)
    yield made
    await made.close()


async def test_an_outbox_is_emptied_in_order(postgres_url: str, connection: asyncpg.Connection) -> None:

    async def put(name: str, **more: Any) -> None:
        columns = ["document_id", *more]
        places = ", ".join(f"${n + 1}" for n in range(len(columns)))
        await connection.execute(
            f"INSERT INTO document_outbox ({', '.join(columns)}) VALUES ({places})", name, *more.values()
        )

    await put("a", text="Lorries pay nine crowns.", attributes=json.dumps({"lang": "en"}))
    await put("a", text="Lorries pay ten crowns.")
    await put("b", text="The bridge closes at ten.")
    await put("b", deleted=True)
    await put("c", media_type="application/pdf", content=b"%PDF nothing")
    await put("d" * 300, text="too long a name")
    async with reading(postgres_url) as whole:
        await holds(whole, "a", parked=("c", "d" * 256))
        assert await whole.found("lorries") == ["Lorries pay ten crowns."]
        async with asyncio.timeout(20):  # a row goes once what it says is kept
            while await connection.fetchval("SELECT count(*) FROM document_outbox"):
                await asyncio.sleep(0.05)
        await connection.execute("DROP TABLE document_outbox")
        await until(lambda: "cannot be read" in whole.keeper.kept["files"].fault)
        await connection.execute(DDL)
        await put("e", text="It goes on.", readers=["finance"])
        await holds(whole, "a", "e", parked=("c", "d" * 256))
        assert "It goes on." not in await whole.found("goes on")


async def test_rows_stay_until_they_are_searchable(postgres_url: str, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO document_outbox (document_id, text) SELECT 'd' || n, 'Text ' || n FROM generate_series(1, 50) AS n"
    )
    whole = Whole(sources={"files": SourceSettings(url=postgres_url, tenant="acme", collection="c", every_s=0.1)})
    for _ in range(5):
        async with running(whole.keeper.run()):
            await asyncio.sleep(0.03)  # and left in the middle
    async with running(whole.keeper.run()):
        await holds(whole, *(f"d{n}" for n in range(1, 51)))


@pytest.mark.timeout(180)
async def test_a_topic_is_consumed(broker_url: str) -> None:
    topic = f"tollway.documents.t{uuid4().hex}"
    publisher = brokers.opened(broker_url)
    publisher.consume(f"{topic}.none", "none", lambda *_: asyncio.sleep(0))
    async with asyncio.timeout(60):
        while True:
            try:
                await publisher.start()
                break
            except BrokerAway:
                await asyncio.sleep(0.5)

    async def say(**what: Any) -> None:
        await publisher.publish(topic, str(what.get("document_id", "")), json.dumps(what).encode())

    try:
        async with reading(broker_url, topic=topic) as whole:
            await until(lambda: whole.keeper.kept["files"].running, within_s=60)
            await asyncio.sleep(1.0)
            await say(document_id="a", text="Lorries pay nine crowns.", changed="2026-11-01T10:00:00+00:00")
            await say(document_id="b", text="The bridge closes at ten.")
            await say(document_id="c", text=7)
            await publisher.publish(topic, "", b"no json")
            await until(lambda: len(whole.keeper.kept["files"].lags) == 2, within_s=60)
            await say(document_id="a", text="Lorries pay ten crowns.", changed="2026-11-03T10:00:00+00:00")
            await say(document_id="b", deleted=True)
            await until(lambda: len(whole.keeper.kept["files"].lags) == 4, within_s=60)
            await say(document_id="a", text="An older price.", changed="2026-11-02T10:00:00+00:00")
            await say(document_id="z", text="The last of all.")
            async with asyncio.timeout(60):
                while "The last of all." not in await whole.found("last of all"):
                    await asyncio.sleep(0.05)
            assert set(await whole.found("lorries")) >= {"Lorries pay ten crowns."}
            assert not {"An older price.", "The bridge closes at ten."} & set(await whole.found("price of the bridge"))
            bad = await whole.catalogue.parked("acme", "c", ("", ""), 10)
            assert bad[0].document_id == "c" and bad[1].document_id.startswith("malformed-")
    finally:
        await publisher.close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """A server that speaks S3's wire, and a client of its own."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client: Any = botocore.session.get_session().create_client("s3", endpoint_url=url)
    client.create_bucket(Bucket="papers")
    yield url, client
    server.stop()


async def test_a_bucket_is_listed(bucket: tuple[str, Any]) -> None:
    url, client = bucket
    client.put_object(Bucket="papers", Key="docs/a.md", Body=b"# Fees\n\nLorries pay nine crowns.")
    client.put_object(Bucket="papers", Key="docs/empty.txt", Body=b"")
    client.put_object(Bucket="papers", Key="other/b.md", Body=b"elsewhere")
    async with reading("s3://papers/docs/", endpoint=url) as whole:
        await holds(whole, "a.md", parked=("empty.txt",))
        client.put_object(Bucket="papers", Key="docs/a.md", Body=b"# Fees\n\nLorries pay ten crowns.")
        client.put_object(Bucket="papers", Key="docs/deep/c.html", Body=b"<p>Cars pay three.</p>")
        client.delete_object(Bucket="papers", Key="docs/empty.txt")
        await holds(whole, "a.md", "deep/c.html")
        assert "ten crowns" in (await whole.found("lorries"))[0]
        client.delete_object(Bucket="papers", Key="docs/a.md")
        await holds(whole, "deep/c.html")
        client.delete_object(Bucket="papers", Key="docs/deep/c.html")
        client.delete_object(Bucket="papers", Key="other/b.md")
        client.delete_bucket(Bucket="papers")
        await until(lambda: "bucket cannot be read" in whole.keeper.kept["files"].fault)


def test_what_is_read() -> None:
    assert readable("a/b.md") and readable("A.PDF")
    assert not readable(".git/a.md") and not readable("a.exe") and not readable("x" * 300 + ".md")
    with pytest.raises(SourceUnknown, match="ftp"):
        opened("files", SourceSettings(url="ftp://host", tenant="acme"))
