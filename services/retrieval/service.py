"""Translates messages to the library and back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceServicer

from services.retrieval.fusion import Fused
from services.retrieval.library import STATIC, Document, Library
from services.retrieval.store import EVERYBODY, Scope
from services.runtime import identity, telemetry

USUAL_LIMIT = 5


@dataclass(slots=True)
class RetrievalService(RetrievalServiceServicer):
    library: Library

    async def UpsertDocuments(
        self, request_iterator: AsyncIterator[pb.UpsertDocumentsRequest], context: object
    ) -> AsyncIterator[pb.UpsertDocumentsResponse]:
        tenant = identity.scoped("documents").tenant
        async for request in request_iterator:
            document = request.document
            if not document.text.strip():
                yield pb.UpsertDocumentsResponse(document_id=document.document_id, fault="the text is empty")
                continue
            made = await self.library.bring(tenant, _document(document))
            yield pb.UpsertDocumentsResponse(
                document_id=document.document_id, version=made.version, chunks=made.chunks, embedded=made.embedded
            )

    async def DeleteDocuments(self, request: pb.DeleteDocumentsRequest, context: object) -> pb.DeleteDocumentsResponse:
        tenant = identity.scoped("documents").tenant
        gone = await self.library.drop(tenant, request.collection, list(request.document_ids))
        return pb.DeleteDocumentsResponse(deleted=gone)

    async def Search(self, request: pb.SearchRequest, context: object) -> pb.SearchResponse:
        tenant = identity.caller().tenant
        scope = Scope(tenant, request.collection, (EVERYBODY, *request.groups), dict(request.attributes))
        static = np.frombuffer(request.vector.values, np.float32) if request.vector.model == STATIC else None
        epoch = self.library.epochs.of(tenant)  # before the search: an answer is never thought newer than it is
        found = await self.library.search(request.query, static, scope, request.limit or USUAL_LIMIT)
        telemetry.note(tollway__retrieval__passages=len(found), tollway__retrieval__epoch=epoch)
        return pb.SearchResponse(passages=map(_passage, found), epoch=epoch)

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        tenant = identity.caller().tenant
        epoch = self.library.epochs.of(tenant)
        while True:
            yield pb.WatchResponse(epoch=epoch)
            epoch = await self.library.epochs.after(tenant, epoch)


def _document(message: pb.Document) -> Document:
    return Document(
        id=message.document_id,
        collection=message.collection,
        title=message.title,
        text=message.text,
        markdown=message.media_type == "text/markdown",
        uri=message.uri,
        attributes=dict(message.attributes),
        readers=tuple(message.readers),
    )


def _passage(one: Fused) -> pb.Passage:
    passage = one.passage
    indexed = Timestamp()
    indexed.FromMicroseconds(int(passage.indexed * 1e6))
    return pb.Passage(
        document_id=passage.document_id,
        version=passage.version,
        title=passage.title,
        uri=passage.uri,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        score=one.score,
        parts=one.parts,
        indexed=indexed,
    )
