"""`/v1/vector_stores`: collections of documents as OpenAI's vector stores, their files read from `/v1/files`."""

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import orjson
from tollway.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Behind
from services.edge.wire import batch, query
from services.edge.wire import vector_store as wire
from services.edge.wire.errors import Refusal

PATH = "/v1/vector_stores"
BATCH = re.compile(r"vsfb_([0-9a-f]{8})_([0-9]{1,4})_([0-9]{1,4})")
"""A batch of files is brought in before it is answered: its id tells when, and how many were and were not."""


@dataclass(frozen=True, slots=True)
class VectorStores:
    retrieval: retrieval_pb2_grpc.RetrievalServiceStub
    jobs: jobs_pb2_grpc.JobsServiceStub

    async def create(self, exchange: Exchange, door: Door) -> None:
        said = wire.store_body(exchange.body)
        files = [(wire.FileBody(one), await self._file(one)) for one in said.file_ids]
        made = await self._kept(wire.collection(said))
        for one, info in files:
            await self._attached(made.name, one, info)
        await exchange.answer(orjson.dumps(wire.store(await self._store(made.name))))

    async def list(self, exchange: Exchange, door: Door) -> None:
        asked = pb.ListCollectionsRequest(
            page_size=_limit(exchange.query), page_token=exchange.query.get("after", "")[:64]
        )
        found = await self.retrieval.ListCollections(asked)
        rows = [wire.store(one) for one in found.collections if one.name]
        await exchange.answer(batch.listed(rows, more=bool(found.next_page_token)))

    async def read(self, exchange: Exchange, door: Door) -> None:
        match _parts(exchange):
            case [store]:
                await exchange.answer(orjson.dumps(wire.store(await self._store(store))))
            case [store, "files"]:
                await self._files(exchange, store)
            case [store, "files", name]:
                found = await self._document(store, name)
                await exchange.answer(orjson.dumps(wire.file(found, store)))
            case [store, "files", name, "content"]:
                await exchange.answer(wire.content((await self._document(store, name, texts=True)).texts))
            case [store, "file_batches", name]:
                await exchange.answer(orjson.dumps(_batch(name, store)))
            case _:
                raise exchange.unknown_url

    async def change(self, exchange: Exchange, door: Door) -> None:
        match _parts(exchange):
            case [store]:
                before, said = await self._store(store), wire.store_body(exchange.body)
                await exchange.answer(orjson.dumps(wire.store(await self._kept(wire.changed(before, said)))))
            case [store, "search"]:
                asked = wire.search_request(exchange.body, store)
                await self._store(store)
                await exchange.answer(wire.found(asked, (await self.retrieval.Search(asked)).passages))
            case [store, "files"]:
                said_file = wire.file_body(exchange.body)
                await self._store(store)
                info = await self._file(said_file.file_id)
                await exchange.answer(orjson.dumps(await self._attached(store, said_file, info)))
            case [store, "files", name]:
                await self._document(store, name)
                again = wire.FileBody(name, wire.attributes_body(exchange.body))
                info = await self._file(name)
                await exchange.answer(orjson.dumps(await self._attached(store, again, info)))
            case [store, "file_batches"]:
                said_files = wire.batch_body(exchange.body)
                await self._store(store)
                files = [(one, await self._file(one.file_id)) for one in said_files]
                made = [await self._attached(store, one, info) for one, info in files]
                bad = sum(one["status"] == "failed" for one in made)
                name = f"vsfb_{int(time.time()):08x}_{len(made) - bad}_{bad}"
                await exchange.answer(orjson.dumps(_batch(name, store)))
            case _:
                raise exchange.unknown_url

    async def delete(self, exchange: Exchange, door: Door) -> None:
        match _parts(exchange):
            case [store]:
                gone = await self.retrieval.DeleteCollection(pb.DeleteCollectionRequest(name=store))
                if not gone.deleted:
                    raise _unknown(store)
                await exchange.answer(batch.deleted(store, "vector_store.deleted"))
            case [store, "files", name]:
                await self._document(store, name)
                await self.retrieval.DeleteDocuments(pb.DeleteDocumentsRequest(collection=store, document_ids=[name]))
                await exchange.answer(batch.deleted(name, "vector_store.file.deleted"))
            case _:
                raise exchange.unknown_url

    async def _files(self, exchange: Exchange, store: str) -> None:
        """Searchable ones, and on the last page those that are not; by id. `filter` names one of both."""
        await self._store(store)
        asked, status = exchange.query, exchange.query.get("filter", "")
        rows, more = list[dict[str, Any]](), False
        if status != "failed":
            page = await self.retrieval.ListDocuments(
                pb.ListDocumentsRequest(
                    collection=store, page_size=_limit(asked), after_document_id=asked.get("after", "")[:256]
                )
            )
            rows, more = [wire.completed(one, store) for one in page.documents], bool(page.next_page_token)
        if status in ("", "failed") and not more:
            waiting = await self.retrieval.ListParked(
                pb.ListParkedRequest(collection=store, page_size=wire.MOST_LISTED)
            )
            rows += [wire.failed(one, store) for one in waiting.parked]
        await exchange.answer(batch.listed(rows, more=more))

    async def _kept(self, one: pb.Collection) -> pb.Collection:
        return (await self.retrieval.PutCollection(pb.PutCollectionRequest(collection=one))).collection

    async def _store(self, name: str) -> pb.Collection:
        """
        Raises:
            Refusal: there is none.
        """
        try:
            return (await self.retrieval.GetCollection(pb.GetCollectionRequest(name=name))).collection
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                raise _unknown(name) from None
            raise

    async def _document(self, store: str, name: str, *, texts: bool = False) -> pb.GetDocumentResponse:
        """
        Raises:
            Refusal: the store has none.
        """
        try:
            asked = pb.GetDocumentRequest(collection=store, document_id=name, with_texts=texts)
            return await self.retrieval.GetDocument(asked)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                raise Refusal(404, "not_found", f"there is no file {name[:64]!r} in it", param="file_id") from None
            raise

    async def _file(self, name: str) -> jobs_pb2.File:
        """
        Raises:
            Refusal: there is no such file.
        """
        of, side = batch.file_of(name)
        if side:
            raise Refusal(400, "invalid_value", "what a batch came to goes into no vector store", param="file_id")
        return (await self.jobs.GetFile(jobs_pb2.GetFileRequest(file_id=of))).file

    async def _attached(self, store: str, said: wire.FileBody, info: jobs_pb2.File) -> dict[str, Any]:
        """The file, searchable now, or why it is not."""
        if info.size_bytes > wire.LARGEST_BYTES:
            why = f"the file has {info.size_bytes:,} bytes: at most {wire.LARGEST_BYTES:,}"
            return wire.refused(said.file_id, store, why)
        content = b"".join(
            [one.piece async for one in self.jobs.ReadFile(jobs_pb2.ReadFileRequest(file_id=info.file_id))]
        )
        document = wire.document(store, said.file_id, info.name, content, wire.facts(said.attributes))

        async def one() -> AsyncIterator[pb.UpsertDocumentsRequest]:
            yield pb.UpsertDocumentsRequest(document=document)

        _ = [made async for made in self.retrieval.UpsertDocuments(one())]
        return wire.file(await self._document(store, said.file_id), store)

    def routes(self, behind: Behind) -> Mapping[str, Mapping[str, Callable[[Exchange, Door], Any]]]:
        return {PATH: {"GET": behind(self.list), "POST": behind(self.create)}}

    def prefixes(self, behind: Behind) -> Mapping[str, Mapping[str, Callable[[Exchange, Door], Any]]]:
        handlers = {"GET": self.read, "POST": self.change, "DELETE": self.delete}
        return {f"{PATH}/": {method: behind(handler) for method, handler in handlers.items()}}


def _parts(exchange: Exchange) -> list[str]:
    return exchange.path.removeprefix(exchange.route).split("/")


def _limit(asked: Mapping[str, str]) -> int:
    return query.limit(asked, wire.USUAL_LISTED, wire.MOST_LISTED)


def _unknown(name: str) -> Refusal:
    return Refusal(404, "not_found", f"there is no vector store {name[:64]!r}", param="vector_store_id")


def _batch(name: str, store: str) -> dict[str, Any]:
    """A `vector_store.files_batch` object.

    Raises:
        Refusal: this is no batch's id.
    """
    if (found := BATCH.fullmatch(name)) is None:
        raise Refusal(404, "not_found", f"there is no batch {name[:64]!r}", param="batch_id")
    return {
        "id": name,
        "object": "vector_store.files_batch",
        "created_at": int(found[1], 16),
        "vector_store_id": store,
        "status": "completed",
        "file_counts": wire.counts(int(found[2]), int(found[3])),
    }
