"""What every catalogue must do."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.retrieval.app import MIGRATIONS
from services.retrieval.catalogue import Catalogue, MemoryCatalogue
from services.retrieval.documents import Collection, Parked, Row
from services.retrieval.postgres import PostgresCatalogue
from services.runtime import postgres

ROW = Row("acme", "hr", "d1", "v1", "Title", "u", 3, "files", "m1", 5.0, 6.0)
BAD = Parked("acme", "hr", "d9", "no text", b"\x00raw\xff", "files", "m9", parked=7.0)


@pytest.fixture(params=["memory", "postgres"])
async def catalogue(request: pytest.FixtureRequest) -> AsyncIterator[Catalogue]:
    if request.param == "memory":
        yield MemoryCatalogue()
        return
    async with postgres.opened(
        request.getfixturevalue("postgres_url"), "retrieval", MIGRATIONS, 6, sessions=True
    ) as pool:
        yield PostgresCatalogue(pool)


async def test_a_new_version_is_a_new_epoch_and_the_same_is_not(catalogue: Catalogue) -> None:
    first = await catalogue.epoch("acme")
    second = await catalogue.commit(ROW)
    same = await catalogue.commit(replace(ROW, mark="m2"))
    third = await catalogue.commit(replace(ROW, version="v2"))
    assert first < second == same < third == await catalogue.epoch("acme")
    assert await catalogue.marks("acme", "files") == {("hr", "d1"): "m1"}
    assert await catalogue.versions([ROW.key, ("acme", "hr", "none")]) == {ROW.key: "v2"}


async def test_a_version_that_is_pointed_at_still_makes_an_epoch_when_it_is_committed(catalogue: Catalogue) -> None:
    await catalogue.point(ROW.key, "v1")
    first = await catalogue.epoch("acme")
    assert await catalogue.commit(ROW) > first


async def test_a_collection_has_the_epoch_of_its_own_last_change(catalogue: Catalogue) -> None:
    first = await catalogue.collection_epoch("acme", "hr")
    assert first == await catalogue.collection_epoch("acme", "law") == await catalogue.epoch("acme")
    changed = await catalogue.commit(ROW)
    assert await catalogue.collection_epoch("acme", "hr") == changed > first
    assert await catalogue.collection_epoch("acme", "law") == first
    bare = await catalogue.advance("acme", "")
    assert (
        await catalogue.collection_epoch("acme", "") == bare
        and await catalogue.collection_epoch("acme", "hr") == changed
    )
    whole = await catalogue.advance("acme")
    assert {await catalogue.collection_epoch("acme", one) for one in ("hr", "law", "")} == {whole}
    assert await catalogue.collection_epoch("globex", "hr") == await catalogue.epoch("globex") != whole


async def test_what_is_gone_is_gone(catalogue: Catalogue) -> None:
    await catalogue.commit(ROW)
    assert await catalogue.forget([ROW.key, ("acme", "hr", "d2")]) == 1
    assert not await catalogue.versions([ROW.key]) and not await catalogue.page("acme", "", "", ("", ""), 10)


async def test_pages_go_on_where_the_last_one_ended(catalogue: Catalogue) -> None:
    for n in range(5):
        await catalogue.commit(replace(ROW, document_id=f"d{n}", source="files" if n % 2 else ""))
    first = await catalogue.page("acme", "hr", "", ("", ""), 3)
    rest = await catalogue.page("acme", "hr", "", first[-1].key[1:], 3)
    assert [one.document_id for one in (*first, *rest)] == [f"d{n}" for n in range(5)]
    assert [one.document_id for one in await catalogue.page("acme", "", "files", ("", ""), 9)] == ["d1", "d3"]
    assert not await catalogue.page("other", "", "", ("", ""), 9)


async def test_parked_documents_count_their_tries_and_leave_when_they_are_read(catalogue: Catalogue) -> None:
    await catalogue.park(BAD)
    await catalogue.park(replace(BAD, reason="still none", mark="m10"))
    (kept,) = await catalogue.parked("acme", "", ("", ""), 10)
    assert (kept.tries, kept.reason, kept.raw) == (2, "still none", BAD.raw)
    assert await catalogue.marks("acme", "files") == {("hr", "d9"): "m10"}
    assert await catalogue.counts("acme") == {"files": (0, 1)}
    await catalogue.commit(replace(ROW, document_id="d9"))
    assert await catalogue.counts("acme") == {"files": (1, 0)}
    await catalogue.park(BAD)
    assert await catalogue.unpark([BAD.key, ROW.key]) == 1


async def test_a_source_that_is_read_anew_knows_nothing(catalogue: Catalogue) -> None:
    await catalogue.commit(ROW)
    await catalogue.park(BAD)
    await catalogue.unmark("acme", "files")
    assert set((await catalogue.marks("acme", "files")).values()) == {""}


async def test_arrivals_add_up(catalogue: Catalogue) -> None:
    await catalogue.arrived("acme", "files", 1, 1)
    await catalogue.arrived("acme", "files", 2, 1)
    assert await catalogue.arrivals("acme") == {"files": (3, 2)}


async def test_one_at_a_time_changes_a_document_and_one_replica_reads_a_source(catalogue: Catalogue) -> None:
    order: list[str] = []

    async def change(name: str) -> None:
        async with catalogue.alone(ROW.key):
            order.append(f"{name} begins")
            await asyncio.sleep(0.05)
            order.append(f"{name} ends")

    await asyncio.gather(change("a"), change("b"))
    assert order in (["a begins", "a ends", "b begins", "b ends"], ["b begins", "b ends", "a begins", "a ends"])
    async with catalogue.leading("acme/files"):
        waiting = asyncio.ensure_future(anext(aiter(_led(catalogue))))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    async with asyncio.timeout(5):
        await waiting


async def _led(catalogue: Catalogue) -> AsyncIterator[None]:
    async with catalogue.leading("acme/files"):
        yield


async def test_the_last_run_of_a_name_is_found(catalogue: Catalogue) -> None:
    assert await catalogue.last_evaluation("acme", "week") is None
    await catalogue.evaluated("acme", "week", 1.0, {"a": 0.5})
    await catalogue.evaluated("acme", "week", 2.0, {"a": 0.75})
    assert await catalogue.last_evaluation("acme", "week") == (2.0, {"a": 0.75})
    assert await catalogue.last_evaluation("other", "week") is None


async def test_whom_documents_are_about(catalogue: Catalogue) -> None:
    other = replace(ROW, tenant="globex", subject="ann")
    rows = [replace(ROW, document_id=f"d{n}", subject="ann" if n < 3 else "") for n in range(5)]
    for row in (*rows, other):
        await catalogue.commit(row)
    assert {one[2] for one in await catalogue.about("acme", "ann", 10)} == {"d0", "d1", "d2"}
    assert len(await catalogue.about("acme", "", 10)) == 5 and len(await catalogue.about("acme", "", 2)) == 2
    await catalogue.commit(replace(rows[0], subject="ben"))
    assert {one[2] for one in await catalogue.about("acme", "ann", 10)} == {"d1", "d2"}
    await catalogue.arrived("acme", "files", 3, 2)
    await catalogue.evaluated("acme", "run", 1.0, {"recall": 1.0})
    await catalogue.evaluated("globex", "run", 1.0, {"recall": 1.0})
    await catalogue.clear("acme")
    assert not await catalogue.arrivals("acme") and await catalogue.last_evaluation("acme", "run") is None
    assert await catalogue.last_evaluation("globex", "run") is not None


async def test_one_row_and_one_that_waits(catalogue: Catalogue) -> None:
    await catalogue.commit(replace(ROW, attributes='{"year": "2026"}'))
    await catalogue.park(BAD)
    found = await catalogue.row(ROW.key)
    assert found is not None and found.attributes == '{"year": "2026"}'
    waiting = await catalogue.parked_one(BAD.key)
    assert waiting is not None and waiting.raw == BAD.raw
    assert await catalogue.row(BAD.key) is None and await catalogue.parked_one(ROW.key) is None


async def test_collections_that_nobody_uses_are_told(catalogue: Catalogue) -> None:
    await catalogue.keep_collection(Collection("acme", "short", created=100.0, idle_s=50, used=100.0))
    await catalogue.keep_collection(Collection("globex", "long", "Long", '{"a": "1"}', 90.0, idle_s=70, used=90.0))
    await catalogue.keep_collection(Collection("acme", "kept", created=1.0, used=1.0))
    assert await catalogue.idle(149.0, 10) == []
    assert [one.name for one in await catalogue.idle(160.0, 10)] == ["long", "short"]
    assert await catalogue.idle(160.0, 1) == [
        Collection("globex", "long", "Long", '{"a": "1"}', 90.0, idle_s=70, used=90.0)
    ]
    await catalogue.use("globex", "long", 140.0)
    await catalogue.use("globex", "long", 120.0)
    await catalogue.use("globex", "none", 140.0)
    assert [one.name for one in await catalogue.idle(160.0, 10)] == ["short"]
    found = await catalogue.collection("globex", "long")
    assert found is not None and found.used == 140.0 and await catalogue.collection("globex", "none") is None
    await catalogue.keep_collection(Collection("globex", "long", created=200.0, used=200.0))
    assert [one.name for one in await catalogue.idle(1e6, 10)] == ["short"], "the other stays now"


async def test_collections_are_those_that_were_kept_and_those_that_have_documents(catalogue: Catalogue) -> None:
    await catalogue.keep_collection(Collection("acme", "empty", "Empty", '{"a": "1"}', 5.0))
    await catalogue.keep_collection(Collection("acme", "hr", "People", "{}", 6.0))
    await catalogue.keep_collection(Collection("globex", "hr"))
    for n in range(3):
        await catalogue.commit(replace(ROW, document_id=f"d{n}"))
    await catalogue.commit(replace(ROW, collection="_law"))
    await catalogue.park(BAD)
    await catalogue.park(replace(BAD, collection="only-bad"))
    empty = Collection("acme", "empty", "Empty", '{"a": "1"}', 5.0)
    people = Collection("acme", "hr", "People", "{}", 6.0, 3, 1)
    law, bad = Collection("acme", "_law", documents=1), Collection("acme", "only-bad", parked=1)
    assert list(await catalogue.collections("acme", "", 10)) == [law, empty, people, bad]
    assert list(await catalogue.collections("acme", "empty", 1)) == [people]
    assert await catalogue.collection("acme", "hr") == people and await catalogue.collection("acme", "none") is None
    await catalogue.keep_collection(Collection("acme", "hr", "Staff", '{"b": "2"}', 99.0))
    assert await catalogue.collection("acme", "hr") == Collection("acme", "hr", "Staff", '{"b": "2"}', 6.0, 3, 1)
    assert await catalogue.drop_collection("acme", "empty") and not await catalogue.drop_collection("acme", "empty")
    await catalogue.clear("acme")
    assert await catalogue.collection("acme", "hr") == Collection("acme", "hr", documents=3, parked=1)
    assert await catalogue.collection("globex", "hr") is not None
