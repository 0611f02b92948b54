"""Takes a document as its contract has it: reads its format, brings it in, and parks it when that cannot be done."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import grpc
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.catalogue import Catalogue, Place
from services.retrieval.chunks import Shape
from services.retrieval.documents import Document, Parked
from services.retrieval.encoding import Metadata
from services.retrieval.formats import Text, Unreadable
from services.retrieval.formats.aside import Aside
from services.retrieval.ingest import Brought, Ingest

PAGE = 100
NUL = "\0"
"""Which PostgreSQL keeps in no text."""


@dataclass(slots=True)
class Intake:
    ingest: Ingest
    catalogue: Catalogue
    aside: Aside = field(default_factory=Aside)
    now: Callable[[], float] = time.time

    async def take(
        self, tenant: str, message: pb.Document, source: str = "", mark: str = "", metadata: Metadata = ()
    ) -> Brought | Unreadable:
        """Searchable when it returns, or parked, with the reason returned.

        Raises:
            StoreAway
        """
        if NUL in message.document_id or NUL in message.collection:
            return Unreadable("document_id and collection may hold no NUL character")
        try:
            return await self._taken(tenant, message, source, mark, metadata)
        except Unreadable as error:
            reason = error
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
            reason = Unreadable(f"a service cannot take it: {error.details()}")
        await self.park(tenant, message, str(reason), source, mark)
        return reason

    async def park(self, tenant: str, message: pb.Document, reason: str, source: str, mark: str) -> None:
        """Keeps a document that cannot be made searchable, as it came."""
        await self.catalogue.park(
            Parked(
                tenant, message.collection, message.document_id, reason, message.SerializeToString(), source, mark,
                parked=self.now(),
            )
        )  # fmt: skip

    async def _taken(self, tenant: str, message: pb.Document, source: str, mark: str, metadata: Metadata) -> Brought:
        text = await self._read(message)
        document = Document(
            id=message.document_id,
            collection=message.collection,
            title=(message.title or text.title).replace(NUL, ""),
            text=text.text,
            markdown=text.shape is Shape.MARKDOWN,
            uri=message.uri.replace(NUL, ""),
            attributes=dict(message.attributes),
            readers=tuple(message.readers),
            source=source,
            mark=mark,
            changed=message.changed.ToMicroseconds() / 1e6 if message.HasField("changed") else 0.0,
        )
        return await self.ingest.bring(tenant, document, text.shape, metadata)

    async def again(self, tenant: str, collection: str, ids: Collection[str]) -> list[tuple[str, Brought | Unreadable]]:
        """Tries parked documents once more, all of the collection where no ids are given."""
        made: list[tuple[str, Brought | Unreadable]] = []
        after: Place = (collection, "")
        while page := await self.catalogue.parked(tenant, collection, after, PAGE):
            after = page[-1].key[1:]
            for one in page:
                if one.collection == collection and (not ids or one.document_id in ids):
                    message = pb.Document.FromString(one.raw)
                    made.append((one.document_id, await self.take(tenant, message, one.source, one.mark)))
        return made

    async def _read(self, message: pb.Document) -> Text:
        if message.content and message.text:
            raise Unreadable("it has both text and content: one of them says what it is")
        return await self.aside.read(
            message.media_type, message.content or message.text.encode("utf-8", "surrogatepass")
        )
