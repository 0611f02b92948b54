"""Retrieval's contract over every transport."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.retrieval.library import Library
from services.retrieval.memory import MemoryStore
from services.retrieval.service import RetrievalService
from services.runtime.background import running
from services.runtime.server import Service
from tests.support.callers import identity
from tests.support.encoders import Encoder
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import until


class Kept:
    def __init__(self) -> None:
        self.encoder, self.store = Encoder(), MemoryStore()
        self.library = Library(self.store, self.encoder, "tw_key")  # type: ignore[arg-type]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture(params=TRANSPORTS)
async def retrieval(request: pytest.FixtureRequest, kept: Kept) -> AsyncIterator[Called]:
    register = partial(retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server, RetrievalService(kept.library))
    served = Service("tollway.retrieval.v1.RetrievalService", "retrieval.tollway", register, identity())
    async with running(kept.library.follow()), channel_to(served, request.param) as channel:
        yield Called(retrieval_pb2_grpc.RetrievalServiceStub(channel))


async def bring(retrieval: Called, *documents: pb.Document) -> list[Any]:
    asked = iter([pb.UpsertDocumentsRequest(document=one) for one in documents])
    return [one async for one in retrieval.UpsertDocuments(asked)]


def document(name: str = "d1", text: str = "The toll for lorries is nine crowns.", **more: Any) -> pb.Document:
    return pb.Document(document_id=name, title="Tolls", text=text, uri="https://e.org", **more)


async def test_a_document_is_found_at_once_and_by_meaning_soon(retrieval: Called, kept: Kept) -> None:
    made = await bring(retrieval, document(), document("d2", "  "))
    assert [(one.document_id, one.chunks, one.fault) for one in made] == [("d1", 1, ""), ("d2", 0, "the text is empty")]
    found = await retrieval.Search(pb.SearchRequest(query="what do lorries pay?"))
    assert found.passages[0].document_id == "d1" and found.passages[0].version == made[0].version and found.epoch > 0
    assert (found.passages[0].title, found.passages[0].uri) == ("Tolls", "https://e.org")
    await until(lambda: all(one.dense is not None for one in kept.store._kept.values()))
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


async def test_mistakes(retrieval: Called) -> None:
    assert await field_of(retrieval.Search(pb.SearchRequest())) == "query"
    assert await field_of(retrieval.DeleteDocuments(pb.DeleteDocumentsRequest())) == "document_ids"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bring(retrieval, document(media_type="image/png"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(retrieval.stub.Search(pb.SearchRequest(query="x"))))[0] is grpc.StatusCode.UNAUTHENTICATED
