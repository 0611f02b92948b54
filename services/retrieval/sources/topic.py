"""A broker's topic: each message is a change in JSON, acknowledged once it is searchable."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import orjson
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.sources import LONGEST_ID, Change, Desk, Kind, SourceAway, SourceSettings
from services.retrieval.sources.message import Malformed, change_of
from services.runtime import brokers
from services.runtime.brokers import BrokerAway

GROUP = "tollway-retrieval"


@dataclass(slots=True)
class Topic:
    name: str
    settings: SourceSettings
    kind: Kind = Kind.TOPIC

    async def run(self, desk: Desk) -> None:
        broker = brokers.opened(self.settings.url)

        async def handle(_: str, body: bytes) -> None:
            await desk.take(_change(self.settings, body))

        broker.consume(
            self.settings.topic or f"tollway.documents.{self.name}", f"{GROUP}-{self.name.replace('.', '-')}", handle
        )
        try:
            await broker.start()
        except BrokerAway as error:
            raise SourceAway(str(error)) from None
        try:
            await asyncio.Event().wait()  # the broker's client reads, and connects again by itself
        finally:
            await broker.close()


def _change(settings: SourceSettings, body: bytes) -> Change:
    """What is no change is parked under a name made from it, since nobody could send it again."""
    seen = time.time()
    name = f"malformed-{sha256(body).hexdigest()[:16]}"
    try:
        said = orjson.loads(body)
        changed = datetime.fromisoformat(said["changed"]).timestamp() if "changed" in said else seen
        return change_of(settings, said, changed)
    except Malformed as error:
        reason, found = str(error), error.document.document_id or name
    except (ValueError, TypeError, AttributeError) as error:
        reason, found = f"it is no JSON object of a change: {type(error).__name__}", name
    bad = pb.Document(document_id=found[:LONGEST_ID], collection=settings.collection, content=body[:1_000_000])
    return Change(bad.document_id, settings.collection, seen, bad, fault=reason)
