"""Translates messages to what does the work, and back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceServicer

from services.retrieval import messages
from services.retrieval.catalogue import Catalogue
from services.retrieval.collecting import Collecting
from services.retrieval.desk import Case, QualityDesk
from services.retrieval.encoding import STATIC
from services.retrieval.epochs import Epochs
from services.retrieval.erasing import Erasing
from services.retrieval.intake import Intake
from services.retrieval.migrating import Migrating, MoveUnderWay, NoMove
from services.retrieval.search import Search, Wish
from services.retrieval.shelf import GenerationUnknown
from services.retrieval.sources import SourceUnknown
from services.retrieval.sources.keeper import Keeper
from services.retrieval.store import EVERYBODY, Scope
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.subjects import digest

USUAL_LIMIT, USUAL_PAGE = 5, 100
TOLERANCE, MOVES_EVERY_S = 0.05, 0.5
TOGETHER = 8
"""Documents of one stream that are under way at a time."""


class NoDocument(Failure):
    kind, reason = Kind.NOT_FOUND, "DOCUMENT_UNKNOWN"
    text = "the collection has no document {document_id}"
    field = "document_id"


class NoSource(Failure):
    kind, reason = Kind.NOT_FOUND, "SOURCE_UNKNOWN"
    text = "the tenant has no source {name}"
    field = "name"


class NoGeneration(Failure):
    kind, reason = Kind.NOT_FOUND, "GENERATION_UNKNOWN"
    text = "the settings have no generation {name}"
    field = "to"


class AnotherMove(Failure):
    kind, reason = Kind.PRECONDITION, "MIGRATION_UNDER_WAY"
    text = "another move has not ended, or that generation is searched already: watch it, or give it up"


class NothingMoves(Failure):
    kind, reason = Kind.PRECONDITION, "MIGRATION_NONE"
    text = "there is no move that could be given up"


@dataclass(slots=True)
class RetrievalService(RetrievalServiceServicer):
    intake: Intake
    search: Search
    catalogue: Catalogue
    epochs: Epochs
    keeper: Keeper
    migrating: Migrating
    collecting: Collecting

    async def UpsertDocuments(
        self, request_iterator: AsyncIterator[pb.UpsertDocumentsRequest], context: object
    ) -> AsyncIterator[pb.UpsertDocumentsResponse]:
        tenant = identity.scoped("documents").tenant
        under_way: asyncio.Queue[asyncio.Task[pb.UpsertDocumentsResponse] | None] = asyncio.Queue(TOGETHER)

        async def take(document: pb.Document) -> pb.UpsertDocumentsResponse:
            self.collecting.used(tenant, document.collection)
            return messages.brought(document.document_id, await self.intake.take(tenant, document))

        async def begin() -> None:
            try:
                async for request in request_iterator:
                    await under_way.put(asyncio.create_task(take(request.document)))
            finally:
                await under_way.put(None)

        reading, task = asyncio.create_task(begin()), None
        try:
            while (task := await under_way.get()) is not None:
                yield await task
            await reading  # raises what the stream broke off with
        finally:
            left = [reading, *filter(None, (task, *(under_way.get_nowait() for _ in range(under_way.qsize()))))]
            for one in left:
                one.cancel()

    async def DeleteDocuments(self, request: pb.DeleteDocumentsRequest, context: object) -> pb.DeleteDocumentsResponse:
        tenant = identity.scoped("documents").tenant
        self.collecting.used(tenant, request.collection)
        gone = await self.intake.ingest.drop(tenant, request.collection, list(request.document_ids))
        return pb.DeleteDocumentsResponse(deleted=gone)

    async def Search(self, request: pb.SearchRequest, context: object) -> pb.SearchResponse:
        tenant = identity.caller().tenant
        scope = Scope(tenant, request.collection, (EVERYBODY, *request.groups), messages.facts_of(request))
        static = np.frombuffer(request.vector.values, np.float32) if request.vector.model == STATIC else None
        half_life_s = request.half_life.ToTimedelta().total_seconds()
        wish = Wish(request.limit or USUAL_LIMIT, request.diversity, half_life_s, request.neighbours)
        epoch = await self.epochs.of(tenant)  # before the search: an answer is never thought newer than it is
        if request.collection:
            self.collecting.used(tenant, request.collection)
        found = await self.search.search(request.query, static, scope, wish)
        telemetry.note(tollway__retrieval__passages=len(found), tollway__retrieval__epoch=epoch)
        return pb.SearchResponse(passages=map(messages.passage, found), epoch=epoch)

    async def GetDocument(self, request: pb.GetDocumentRequest, context: object) -> pb.GetDocumentResponse:
        tenant = identity.scoped("documents").tenant
        key = (tenant, request.collection, request.document_id)
        row, parked = await self.catalogue.row(key), await self.catalogue.parked_one(key)
        if row is None and parked is None:
            raise NoDocument(document_id=request.document_id)
        found = await self.intake.ingest.store.of_document(*key) if request.with_texts and row is not None else ()
        return pb.GetDocumentResponse(
            document=messages.document(row) if row is not None else None,
            parked=messages.parked(parked) if parked is not None else None,
            texts=[one.text for one in sorted(found, key=lambda one: one.ordinal)],
        )

    async def PutCollection(self, request: pb.PutCollectionRequest, context: object) -> pb.PutCollectionResponse:
        tenant, said = identity.scoped("documents").tenant, request.collection
        made = await self.collecting.keep(tenant, said.name, said.title, said.metadata, said.idle_for.seconds)
        return pb.PutCollectionResponse(collection=messages.collection(made))

    async def GetCollection(self, request: pb.GetCollectionRequest, context: object) -> pb.GetCollectionResponse:
        found = await self.collecting.known(identity.scoped("documents").tenant, request.name)
        return pb.GetCollectionResponse(collection=messages.collection(found))

    async def ListCollections(self, request: pb.ListCollectionsRequest, context: object) -> pb.ListCollectionsResponse:
        tenant, most = identity.scoped("documents").tenant, request.page_size or USUAL_PAGE
        found = await self.catalogue.collections(tenant, request.page_token, most)
        more = found[-1].name if len(found) == most else ""
        return pb.ListCollectionsResponse(collections=map(messages.collection, found), next_page_token=more)

    async def DeleteCollection(
        self, request: pb.DeleteCollectionRequest, context: object
    ) -> pb.DeleteCollectionResponse:
        there, documents = await self.collecting.drop(identity.scoped("documents").tenant, request.name)
        return pb.DeleteCollectionResponse(deleted=there, documents=documents)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: object) -> pb.ListDocumentsResponse:
        tenant, most = identity.scoped("documents").tenant, request.page_size or USUAL_PAGE
        after = messages.place(request.page_token)
        if request.after_document_id and not request.page_token:
            after = (request.collection, request.after_document_id)
        rows = await self.catalogue.page(tenant, request.collection, request.source, after, most)
        return pb.ListDocumentsResponse(
            documents=map(messages.document, rows), next_page_token=messages.token_of(rows, most)
        )

    async def ListSources(self, request: pb.ListSourcesRequest, context: object) -> pb.ListSourcesResponse:
        tenant = identity.scoped("documents").tenant
        counts, arrivals = await self.catalogue.counts(tenant), await self.catalogue.arrivals(tenant)
        none = (0, 0)
        return pb.ListSourcesResponse(
            sources=[
                messages.source(one, counts.get(one.name, none), arrivals.get(one.name, none))
                for one in self.keeper.of(tenant)
            ]
        )

    async def ResyncSource(self, request: pb.ResyncSourceRequest, context: object) -> pb.ResyncSourceResponse:
        try:
            await self.keeper.resync(identity.scoped("documents").tenant, request.name)
        except SourceUnknown:
            raise NoSource(name=request.name) from None
        return pb.ResyncSourceResponse()

    async def ListParked(self, request: pb.ListParkedRequest, context: object) -> pb.ListParkedResponse:
        tenant, most = identity.scoped("documents").tenant, request.page_size or USUAL_PAGE
        found = await self.catalogue.parked(tenant, request.collection, messages.place(request.page_token), most)
        return pb.ListParkedResponse(parked=map(messages.parked, found), next_page_token=messages.token_of(found, most))

    async def RetryParked(self, request: pb.RetryParkedRequest, context: object) -> pb.RetryParkedResponse:
        tenant = identity.scoped("documents").tenant
        made = await self.intake.again(tenant, request.collection, set(request.document_ids))
        return pb.RetryParkedResponse(results=[messages.brought(*one) for one in made])

    async def DropParked(self, request: pb.DropParkedRequest, context: object) -> pb.DropParkedResponse:
        tenant = identity.scoped("documents").tenant
        keys = [(tenant, request.collection, one) for one in request.document_ids]
        return pb.DropParkedResponse(dropped=await self.catalogue.unpark(keys))

    async def Evaluate(self, request: pb.EvaluateRequest, context: object) -> pb.EvaluateResponse:
        tenant = identity.scoped("documents").tenant
        scope = Scope(tenant, request.collection, (EVERYBODY, *request.groups))
        cases = [Case(one.query, dict(one.relevant), one.answer) for one in request.cases]
        desk = QualityDesk(self.search, self.catalogue)
        return messages.report(await desk.run(request.name, scope, cases, request.limit or USUAL_LIMIT))

    async def Erase(self, request: pb.EraseRequest, context: object) -> pb.EraseResponse:
        tenant, subject = request.tenant, request.subject
        erasing = Erasing(self.intake.ingest, self.catalogue)
        parked = await erasing.parked(tenant, subject)
        documents = await erasing.documents(tenant, digest(tenant, subject))
        if not subject:
            await self.catalogue.clear(tenant)
        return pb.EraseResponse(erased={"documents": documents, "parked": parked})

    async def StartMigration(self, request: pb.StartMigrationRequest, context: object) -> pb.StartMigrationResponse:
        identity.administrator()
        try:
            await self.migrating.start(request.to, request.tolerance or TOLERANCE)
        except GenerationUnknown:
            raise NoGeneration(name=request.to) from None
        except MoveUnderWay:
            raise AnotherMove from None
        return pb.StartMigrationResponse()

    async def WatchMigration(
        self, request: pb.WatchMigrationRequest, context: object
    ) -> AsyncIterator[pb.WatchMigrationResponse]:
        identity.administrator()
        while True:
            move = await self.migrating.state()
            yield messages.move(move, await self.catalogue.total())
            if not (move.under_way or move.leaving):
                return
            await asyncio.sleep(MOVES_EVERY_S)

    async def CancelMigration(self, request: pb.CancelMigrationRequest, context: object) -> pb.CancelMigrationResponse:
        identity.administrator()
        try:
            await self.migrating.cancel()
        except NoMove:
            raise NothingMoves from None
        return pb.CancelMigrationResponse()

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        tenant = identity.caller().tenant
        async for epoch in self.epochs.told(tenant, request.collection):
            yield pb.WatchResponse(epoch=epoch)
