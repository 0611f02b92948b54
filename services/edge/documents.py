"""`/tollway/v1/documents`, `/search`, `/sources`, `/parked`: retrieval over HTTP, for whoever pushes documents without gRPC."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Behind
from services.edge.wire import documents as wire
from services.edge.wire import query
from services.edge.wire.errors import Refusal
from services.edge.wire.page import listed, plain


@dataclass(frozen=True, slots=True)
class Documents:
    retrieval: retrieval_pb2_grpc.RetrievalServiceStub

    async def put(self, exchange: Exchange, door: Door) -> None:
        """The body is the document as it is; `content-type` says what."""
        name = exchange.path.removeprefix(exchange.route)
        kind = exchange.headers.get(b"content-type", b"").decode("latin-1")
        document = wire.document_of(name, kind, exchange.body, exchange.query)

        async def one() -> AsyncIterator[pb.UpsertDocumentsRequest]:
            yield pb.UpsertDocumentsRequest(document=document)

        (made,) = [answer async for answer in self.retrieval.UpsertDocuments(one())]
        if made.fault:
            raise Refusal(422, "unreadable_document", made.fault, param="body")
        await exchange.answer(orjson.dumps(plain(made)))

    async def delete(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        asked = pb.DeleteDocumentsRequest(collection=exchange.query.get("collection", ""), document_ids=[name])
        gone = (await self.retrieval.DeleteDocuments(asked)).deleted
        await exchange.answer(orjson.dumps({"document_id": name, "deleted": bool(gone)}))

    async def list(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.retrieval.ListDocuments(
            pb.ListDocumentsRequest(
                collection=asked.get("collection", ""), source=asked.get("source", ""), page_size=query.limit(asked),
                page_token=asked.get("page_token", ""),
            )
        )  # fmt: skip
        await exchange.answer(listed(map(plain, page.documents), page.next_page_token))

    async def search(self, exchange: Exchange, door: Door) -> None:
        found = await self.retrieval.Search(wire.search_of(exchange.body))
        await exchange.answer(listed(map(plain, found.passages)))

    async def sources(self, exchange: Exchange, door: Door) -> None:
        found = await self.retrieval.ListSources(pb.ListSourcesRequest())
        await exchange.answer(listed(map(plain, found.sources)))

    async def parked(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.retrieval.ListParked(
            pb.ListParkedRequest(
                collection=asked.get("collection", ""), page_size=query.limit(asked),
                page_token=asked.get("page_token", ""),
            )
        )  # fmt: skip
        await exchange.answer(listed(map(plain, page.parked), page.next_page_token))

    async def retry(self, exchange: Exchange, door: Door) -> None:
        asked = pb.RetryParkedRequest(
            collection=exchange.query.get("collection", ""),
            document_ids=[exchange.path.removeprefix(exchange.route)],
        )
        results = (await self.retrieval.RetryParked(asked)).results
        if not results:
            raise Refusal(404, "not_parked", "no such document is parked in this collection")
        await exchange.answer(orjson.dumps(plain(results[0])))

    async def drop(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        asked = pb.DropParkedRequest(collection=exchange.query.get("collection", ""), document_ids=[name])
        gone = (await self.retrieval.DropParked(asked)).dropped
        await exchange.answer(orjson.dumps({"document_id": name, "dropped": bool(gone)}))

    async def resync(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        await self.retrieval.ResyncSource(pb.ResyncSourceRequest(name=name))
        await exchange.answer(orjson.dumps({"name": name}))

    def routes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/documents": {"GET": behind(self.list)},
            "/tollway/v1/search": {"POST": behind(self.search)},
            "/tollway/v1/sources": {"GET": behind(self.sources)},
            "/tollway/v1/parked": {"GET": behind(self.parked)},
        }

    def prefixes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/documents/": {"PUT": behind(self.put), "DELETE": behind(self.delete)},
            "/tollway/v1/parked/": {"POST": behind(self.retry), "DELETE": behind(self.drop)},
            "/tollway/v1/sources/": {"POST": behind(self.resync)},
        }
