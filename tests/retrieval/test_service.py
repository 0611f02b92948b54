"""Retrieval's contract over every transport."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.retrieval.sources import SourceSettings
from services.runtime.background import running
from services.runtime.server import Service
from tests.retrieval.whole import Whole
from tests.support.callers import identity
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import until


@pytest.fixture
def kept() -> Whole:
    return Whole()


@pytest.fixture(params=TRANSPORTS)
async def retrieval(request: pytest.FixtureRequest, kept: Whole) -> AsyncIterator[Called]:
    register = partial(retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server, kept.service)
    served = Service("tollway.retrieval.v1.RetrievalService", "retrieval.tollway", register, identity())
    async with running(kept.following.run()), channel_to(served, request.param) as channel:
        yield Called(retrieval_pb2_grpc.RetrievalServiceStub(channel))
    await kept.intake.aside.close()


async def bring(retrieval: Called, *documents: pb.Document) -> list[Any]:
    asked = iter([pb.UpsertDocumentsRequest(document=one) for one in documents])
    return [one async for one in retrieval.UpsertDocuments(asked)]


def document(name: str = "d1", text: str = "The toll for lorries is nine crowns.", **more: Any) -> pb.Document:
    return pb.Document(document_id=name, title="Tolls", text=text, uri="https://e.org", **more)


async def test_a_document_is_found_at_once_and_by_meaning_soon(retrieval: Called, kept: Whole) -> None:
    made = await bring(retrieval, document(), document("d2", "  "))
    assert [(one.document_id, one.chunks, one.fault) for one in made] == [
        ("d1", 1, ""),
        ("d2", 0, "there is no text in it"),
    ]
    found = await retrieval.Search(pb.SearchRequest(query="what do lorries pay?"))
    assert found.passages[0].document_id == "d1" and found.passages[0].version == made[0].version and found.epoch > 0
    assert (found.passages[0].title, found.passages[0].uri) == ("Tolls", "https://e.org")
    await until(lambda: not kept.ingest.wake.is_set())
    assert "dense" in (await retrieval.Search(pb.SearchRequest(query="a truck's fee"))).passages[0].parts


async def test_what_has_not_changed_is_not_encoded_again(retrieval: Called) -> None:
    parts = [f"Paragraph {n}. {'word ' * 150}" for n in range(4)]
    first = (await bring(retrieval, document(text="\n\n".join(parts))))[0]
    same = (await bring(retrieval, document(text="\n\n".join(parts))))[0]
    parts[2] = f"Another paragraph. {'text ' * 150}"
    changed = (await bring(retrieval, document(text="\n\n".join(parts))))[0]
    assert (first.embedded, same.embedded, changed.embedded) == (4, 0, 1) and first.version != changed.version


async def test_access_lists_hold_inside_the_search(retrieval: Called) -> None:
    await bring(retrieval, document(readers=["finance"]), document("d2", "Lorries are long."))
    ask = pb.SearchRequest(query="lorries")
    assert [one.document_id for one in (await retrieval.Search(ask)).passages] == ["d2"]
    ask.groups.append("finance")
    assert {one.document_id for one in (await retrieval.Search(ask)).passages} == {"d1", "d2"}
    assert not (await retrieval.by("other").Search(ask)).passages


async def test_deleting_and_the_epoch(retrieval: Called) -> None:
    watch = retrieval.stub.Watch(pb.WatchRequest(), metadata=retrieval.Watch.keywords["metadata"])
    epochs = [(await watch.read()).epoch]
    await bring(retrieval, document())
    epochs.append((await watch.read()).epoch)
    assert (await retrieval.DeleteDocuments(pb.DeleteDocumentsRequest(document_ids=["d1", "d9"]))).deleted == 1
    async with asyncio.timeout(5):
        epochs.append((await watch.read()).epoch)
    watch.cancel()
    assert epochs[0] < epochs[1] < epochs[2]
    assert not (await retrieval.Search(pb.SearchRequest(query="lorries"))).passages


async def test_who_watches_a_collection_hears_of_no_other(retrieval: Called) -> None:
    watch = retrieval.stub.Watch(pb.WatchRequest(collection="hr"), metadata=retrieval.Watch.keywords["metadata"])
    first = (await watch.read()).epoch
    await bring(retrieval, document("d1", "Lorries are long.", collection="law"))
    await bring(retrieval, document("d2", "Lorries are wide.", collection="hr"))
    async with asyncio.timeout(5):
        second = (await watch.read()).epoch
    watch.cancel()
    assert second > first
    listed = (await retrieval.Search(pb.SearchRequest(query="lorries", collection="hr"))).epoch
    assert second == listed, "the first of the two changes was not told"


async def test_mistakes(retrieval: Called) -> None:
    assert await field_of(retrieval.Search(pb.SearchRequest())) == "query"
    assert await field_of(retrieval.ListDocuments(pb.ListDocumentsRequest(page_token="x"))) == "page_token"
    unknown = await refused(retrieval.ResyncSource(pb.ResyncSourceRequest(name="none")))
    assert unknown[0] is grpc.StatusCode.NOT_FOUND
    assert await field_of(retrieval.DeleteDocuments(pb.DeleteDocumentsRequest())) == "document_ids"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bring(retrieval, document(media_type="image/png"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(retrieval.stub.Search(pb.SearchRequest(query="x"))))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_bad_document_is_parked_with_its_reason_and_stops_no_other(retrieval: Called) -> None:
    bad = pb.Document(document_id="bad", media_type="application/pdf", content=b"%PDF nothing")
    made = await bring(retrieval, document("a"), bad, document("b"))
    assert [bool(one.fault) for one in made] == [False, True, False] and "no PDF" in made[1].fault
    (parked,) = (await retrieval.ListParked(pb.ListParkedRequest())).parked
    assert (parked.document_id, parked.tries) == ("bad", 1) and parked.reason == made[1].fault
    again = await retrieval.RetryParked(pb.RetryParkedRequest())
    assert again.results[0].fault and (await retrieval.ListParked(pb.ListParkedRequest())).parked[0].tries == 2
    assert not (await retrieval.by("other").ListParked(pb.ListParkedRequest())).parked
    assert (await retrieval.DropParked(pb.DropParkedRequest(document_ids=["bad"]))).dropped == 1
    assert not (await retrieval.ListParked(pb.ListParkedRequest())).parked


async def test_a_version_that_cannot_be_read_leaves_the_one_before(retrieval: Called) -> None:
    first = (await bring(retrieval, document()))[0]
    bad = pb.Document(document_id="d1", media_type="application/json", content=b"{")
    assert "no JSON" in (await bring(retrieval, bad))[0].fault
    assert (await retrieval.Search(pb.SearchRequest(query="lorries"))).passages[0].version == first.version
    assert not (await bring(retrieval, document(text="Now ten crowns.")))[0].fault
    assert not (await retrieval.ListParked(pb.ListParkedRequest())).parked


async def test_sources_are_told_to_their_tenant_alone(retrieval: Called, kept: Whole, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Lorries pay nine crowns.")
    (tmp_path / "b.json").write_text("{")
    made = Whole(kept.store, kept.catalogue, {"files": SourceSettings(f"folder:{tmp_path}", "acme", "c")})
    kept.keeper.kept = made.keeper.kept
    async with running(made.keeper.run()):
        async with asyncio.timeout(20):
            while True:
                (one,) = (await retrieval.ListSources(pb.ListSourcesRequest())).sources
                if one.changes and one.parked:
                    break
                await asyncio.sleep(0.02)
        assert (one.kind, one.running, one.documents, one.parked, one.changes) == ("folder", True, 1, 1, 1)
        assert one.promised.ToTimedelta().total_seconds() == 5 and one.HasField("lag_p99") and not one.fault
        assert not (await retrieval.by("other").ListSources(pb.ListSourcesRequest())).sources
        await retrieval.ResyncSource(pb.ResyncSourceRequest(name="files"))
    await made.intake.aside.close()


async def test_documents_are_listed_page_by_page(retrieval: Called) -> None:
    await bring(retrieval, *(document(f"d{n}", f"Text number {n}.", collection="hr") for n in range(5)))
    first = await retrieval.ListDocuments(pb.ListDocumentsRequest(collection="hr", page_size=3))
    rest = await retrieval.ListDocuments(pb.ListDocumentsRequest(page_size=3, page_token=first.next_page_token))
    assert [one.document_id for one in (*first.documents, *rest.documents)] == [f"d{n}" for n in range(5)]
    assert not rest.next_page_token and first.documents[0].chunks == 1
    assert not (await retrieval.by("other").ListDocuments(pb.ListDocumentsRequest())).documents


async def test_a_passage_comes_with_its_neighbours_and_says_where_it_stands(retrieval: Called) -> None:
    text = "# Fees\n\n" + "\n\n".join(
        f"Paragraph {n} about {word}. {'filler ' * 150}" for n, word in enumerate("ants bees moths".split())
    )
    await bring(retrieval, document(text=text, media_type="text/markdown", collection="zoo"))
    found = await retrieval.Search(pb.SearchRequest(query="paragraph about bees", limit=1, neighbours=1))
    one = found.passages[0]
    assert (one.ordinal, one.header, one.collection) == (1, "Tolls > Fees", "zoo")
    assert "about ants" in one.before and "about moths" in one.after


async def test_an_evaluation_measures_and_tells_what_moved(retrieval: Called) -> None:
    await bring(retrieval, document(), document("d2", "The bridge closes at ten."))
    cases = [
        pb.Case(query="what do lorries pay?", relevant={"d1": 1}, answer="nine  CROWNS"),
        pb.Case(query="when does the bridge close?", relevant={"d2": 1}, answer="at noon"),
    ]
    first = await retrieval.Evaluate(pb.EvaluateRequest(name="week", cases=cases))
    assert (first.ndcg_10.mean, first.recall_100.mean, first.coverage.mean) == (1.0, 1.0, 0.5)
    assert not first.HasField("before") and not first.HasField("drift")
    await retrieval.DeleteDocuments(pb.DeleteDocumentsRequest(document_ids=["d2"]))
    second = await retrieval.Evaluate(pb.EvaluateRequest(name="week", cases=cases))
    assert second.drift.mean == -0.5 and second.HasField("before")
    assert [(one.query, one.before, one.now) for one in second.moved] == [(cases[1].query, 1.0, 0.0)]


async def test_a_move_is_begun_watched_and_given_up_by_administrators(retrieval: Called, kept: Whole) -> None:
    boss = retrieval.by("acme", admin=True)
    assert (await refused(boss.StartMigration(pb.StartMigrationRequest(to="none"))))[0] is grpc.StatusCode.NOT_FOUND
    assert (await refused(retrieval.StartMigration(pb.StartMigrationRequest(to="next"))))[
        0
    ] is grpc.StatusCode.PERMISSION_DENIED
    kept.migrating.names = frozenset({"first", "next"})
    await boss.StartMigration(pb.StartMigrationRequest(to="next"))
    watched = boss.WatchMigration(pb.WatchMigrationRequest())
    first = await anext(aiter(watched))
    assert (first.to, first.state, first.copied) == ("next", pb.MIGRATION_STATE_COPYING, 0)
    await boss.CancelMigration(pb.CancelMigrationRequest())
    states = [one.state async for one in boss.WatchMigration(pb.WatchMigrationRequest())]
    assert states == [pb.MIGRATION_STATE_CANCELLED]


async def test_names_and_texts_that_no_database_keeps(retrieval: Called) -> None:
    made = await bring(
        retrieval,
        document("a\0b"),
        document(
            "c",
            text="Lorries\0 pay.",
        ),
        document("d"),
    )
    assert [bool(one.fault) for one in made] == [True, False, False] and "NUL" in made[0].fault
    assert not (await retrieval.ListParked(pb.ListParkedRequest())).parked


async def test_what_a_kill_left_of_the_version_before_goes_when_it_is_brought_again(
    retrieval: Called, kept: Whole
) -> None:
    await bring(retrieval, document(text="The old toll is nine."))
    left = list(await kept.store.of_document("acme", "", "d1"))
    await bring(retrieval, document(text="The new toll is ten."))
    kept.store._kept[left[0].id] = left[0]  # type: ignore[attr-defined]
    await bring(retrieval, document(text="The new toll is ten."))
    found = await retrieval.Search(pb.SearchRequest(query="toll"))
    assert [one.text for one in found.passages] == ["The new toll is ten."]


async def test_documents_about_an_end_user_are_erased(retrieval: Called) -> None:
    admin, hers = retrieval.by("operator", admin=True), {"subject": "ann"}
    await bring(
        retrieval,
        document("d1", "Ann pays nine crowns.", attributes=hers), document("d2", "Lorries pay ten crowns."),
        document("d3", " ", attributes=hers), document("d4", " "), document("d5", "Ann again.", collection="hr", attributes=hers),
    )  # fmt: skip
    await bring(retrieval.by("other"), document("d1", "Ann pays elsewhere.", attributes=hers))
    gone = await admin.Erase(pb.EraseRequest(tenant="acme", subject="ann"))
    assert gone.erased == {"documents": 2, "parked": 1}
    found = await retrieval.Search(pb.SearchRequest(query="ann pays crowns", limit=10))
    assert {one.document_id for one in found.passages} == {"d2"}
    assert [one.document_id for one in (await retrieval.ListParked(pb.ListParkedRequest())).parked] == ["d4"]
    assert (await retrieval.by("other").Search(pb.SearchRequest(query="ann pays"))).passages


async def test_a_tenants_documents_are_erased(retrieval: Called) -> None:
    await bring(
        retrieval,
        *(document(f"d{n}", f"Lorry {n} pays.", collection=f"c{n % 2}") for n in range(5)),
        document("d9", " "),
    )
    await bring(retrieval.by("other"), document())
    admin = retrieval.by("operator", admin=True)
    before = (await retrieval.Search(pb.SearchRequest(query="lorry"))).epoch
    gone = await admin.Erase(pb.EraseRequest(tenant="acme", everything=True))
    assert gone.erased == {"documents": 5, "parked": 1}
    found = await retrieval.Search(pb.SearchRequest(query="lorry"))
    assert not found.passages and found.epoch > before, "answers that rest on them are asked anew"
    assert not (await retrieval.ListDocuments(pb.ListDocumentsRequest())).documents
    assert (await retrieval.by("other").Search(pb.SearchRequest(query="lorries"))).passages


async def test_facts_are_asked_for_in_any_way(retrieval: Called) -> None:
    for name, facts in (("old", {"year": "2024"}), ("new", {"year": "2026"}), ("bare", {})):
        await bring(retrieval, document(name, f"Lorries pay, says the {name} one.", attributes=facts))

    def asked(where: pb.Where) -> pb.SearchRequest:
        return pb.SearchRequest(query="lorries", where=where)

    other = pb.Where(fact=pb.Where.Fact(name="year", values=["2026"], none=True))
    old = pb.Where(fact=pb.Where.Fact(name="year", values=["2024", "2025"]))
    for where, seen in (
        (other, {"old", "bare"}),
        (pb.Where(all=pb.Where.Several(parts=[other, old])), {"old"}),
        (pb.Where(any=pb.Where.Several(parts=[pb.Where(all=pb.Where.Several(parts=[old])), other])), {"old", "bare"}),
    ):
        found = await retrieval.Search(asked(where))
        assert {one.document_id for one in found.passages} == seen
    many = pb.Where(any=pb.Where.Several(parts=[pb.Where(all=pb.Where.Several(parts=[old] * 22))] * 3))
    assert await refused(retrieval.Search(asked(many))) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_FACTS")
    nothing = pb.Where(any=pb.Where.Several(parts=[pb.Where()]))
    assert await field_of(retrieval.Search(asked(nothing))) == "where.any.parts[0].said"


async def test_one_document_is_told_of_with_its_texts_and_facts(retrieval: Called) -> None:
    parts = "\n\n".join(f"Paragraph {n}. {'word ' * 150}" for n in range(3))
    await bring(retrieval, document(text=parts, attributes={"year": "2026"}), document("bad", " "))
    made = await retrieval.GetDocument(pb.GetDocumentRequest(document_id="d1", with_texts=True))
    assert dict(made.document.attributes) == {"year": "2026"} and made.document.chunks == len(made.texts) == 3
    assert made.texts[1].startswith("Paragraph 1.") and not made.HasField("parked")
    made = await retrieval.GetDocument(pb.GetDocumentRequest(document_id="bad"))
    assert made.parked.reason == "there is no text in it" and not made.HasField("document")
    found = await retrieval.Search(pb.SearchRequest(query="paragraph"))
    assert dict(found.passages[0].attributes) == {"year": "2026"}
    none = pb.GetDocumentRequest(document_id="none")
    assert await refused(retrieval.GetDocument(none)) == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_UNKNOWN")
    assert (await refused(retrieval.by("other").GetDocument(pb.GetDocumentRequest(document_id="d1"))))[
        1
    ] == "DOCUMENT_UNKNOWN"


async def test_a_collection_is_kept_and_taken_away_with_its_documents(retrieval: Called, kept: Whole) -> None:
    asked = pb.PutCollectionRequest(collection=pb.Collection(name="hr", title="People", metadata={"team": "a"}))
    made = (await retrieval.PutCollection(asked)).collection
    assert (made.name, made.title, dict(made.metadata), made.documents) == ("hr", "People", {"team": "a"}, 0)
    await bring(
        retrieval, *(document(f"d{n}", collection="hr") for n in range(3)), document("bad", " ", collection="hr")
    )
    await bring(retrieval, document("law", collection="law"), document("bare"))
    found = (await retrieval.GetCollection(pb.GetCollectionRequest(name="hr"))).collection
    assert (found.documents, found.parked, found.created) == (3, 1, made.created)
    first = await retrieval.ListCollections(pb.ListCollectionsRequest(page_size=2))
    rest = await retrieval.ListCollections(pb.ListCollectionsRequest(page_token=first.next_page_token))
    assert [one.name for one in (*first.collections, *rest.collections)] == ["", "hr", "law"]
    before = await kept.catalogue.collection_epoch("acme", "hr")
    gone = await retrieval.DeleteCollection(pb.DeleteCollectionRequest(name="hr"))
    assert (gone.deleted, gone.documents) == (True, 3) and await kept.catalogue.collection_epoch("acme", "hr") > before
    assert {one.document_id for one in (await retrieval.Search(pb.SearchRequest(query="lorries"))).passages} == {"law"}
    assert not (await retrieval.DeleteCollection(pb.DeleteCollectionRequest(name="hr"))).deleted
    assert await refused(retrieval.GetCollection(pb.GetCollectionRequest(name="hr"))) == (
        grpc.StatusCode.NOT_FOUND, "COLLECTION_UNKNOWN",
    )  # fmt: skip
    assert (await retrieval.DeleteCollection(pb.DeleteCollectionRequest())).documents == 1
    assert [one.name for one in (await retrieval.ListCollections(pb.ListCollectionsRequest())).collections] == ["law"]
    short = pb.Collection(name="law", idle_for=Duration(seconds=60))
    assert await field_of(retrieval.PutCollection(pb.PutCollectionRequest(collection=short))) == "collection.idle_for"
    short.idle_for.seconds = 7200
    stands = (await retrieval.PutCollection(pb.PutCollectionRequest(collection=short))).collection
    assert stands.idle_for.seconds == 7200 and stands.used.seconds > 0
    wrong = pb.PutCollectionRequest(collection=pb.Collection(name="Not so"))
    assert await field_of(retrieval.PutCollection(wrong)) == "collection.name"
