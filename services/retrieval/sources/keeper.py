"""Keeps sources running, each in one replica, and measures how long a change takes to be searchable."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc

from services.retrieval.catalogue import Catalogue
from services.retrieval.encoding import Metadata
from services.retrieval.intake import Intake
from services.retrieval.sources import Change, Kind, Source, SourceAway, SourceSettings, SourceUnknown, opened
from services.retrieval.store import StoreAway
from services.retrieval.turns import Turns
from services.runtime.metrics import Counted, Distribution

log = logging.getLogger(__name__)

LAGS = 1000
AGAIN_S, LONGEST_AGAIN_S = 1.0, 30.0
LAG = Distribution(
    "tollway.retrieval.lag", "s", "From a change where a document comes from to its being searchable.",
    (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 3600), ("source",),
)  # fmt: skip
CHANGES = Counted(
    "tollway.retrieval.changes", "{change}", "Brought by sources: in time, late, or parked.", ("source", "outcome")
)


@dataclass(slots=True)
class Kept:
    """A source, and how it fares in this replica."""

    name: str
    settings: SourceSettings
    source: Source
    catalogue: Catalogue
    intake: Intake
    own: Metadata
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=LAGS))
    running: bool = False
    began: float = 0.0
    """When it began to read: what was changed before is in the catalogue, or comes in from then on."""
    fault: str = ""
    turns: Turns = field(default_factory=Turns)
    again: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to begin anew."""
    _marks: dict[tuple[str, str], str] | None = None

    async def take(self, change: Change) -> None:
        """Searchable, gone or parked when it returns; a guard or encoder that is away is waited for.

        Raises:
            StoreAway
        """
        while True:
            try:
                parked = await self._taken(change)
                self._note(change)
                break
            except grpc.aio.AioRpcError as error:
                log.warning("source %s waits: a service answers %s", self.name, error.code().name)
                await asyncio.sleep(AGAIN_S)
        if parked:
            CHANGES.add(1, self.name, "parked")
            return
        lag = max(time.time() - max(change.changed, self.began), 0.0)
        in_time = lag <= self.settings.promised_s
        self.lags.append(lag)
        LAG.add(lag, self.name)
        CHANGES.add(1, self.name, "in time" if in_time else "late")
        await self.catalogue.arrived(self.settings.tenant, self.name, 1, int(in_time))

    async def marks(self) -> Mapping[tuple[str, str], str]:
        if self._marks is None:
            self._marks = dict(await self.catalogue.marks(self.settings.tenant, self.name))
        return dict(self._marks)

    def _note(self, change: Change) -> None:
        """Marks are asked for with every change that a source is told of: the catalogue is asked once."""
        if self._marks is None:
            return
        if change.document is None:
            self._marks.pop((change.collection, change.document_id), None)
        else:
            self._marks[change.collection, change.document_id] = change.mark

    async def _taken(self, change: Change) -> bool:
        """Whether it was parked."""
        tenant = self.settings.tenant
        key = (tenant, change.collection, change.document_id)
        async with self.turns.of(key):
            if self.source.kind is Kind.TOPIC and change.changed < await self.catalogue.changed(key):
                return False  # brokers send again, and out of order: what is newer stays
            return await self._done(tenant, change)

    async def _done(self, tenant: str, change: Change) -> bool:
        if change.document is None:
            await self.intake.ingest.drop(tenant, change.collection, [change.document_id])
            return False
        if change.fault:
            await self.intake.park(tenant, change.document, change.fault, self.name, change.mark)
            return True
        made = await self.intake.take(tenant, change.document, self.name, change.mark, self.own)
        return isinstance(made, Exception)

    async def run(self) -> None:
        """Until cancelled: waits for its turn among the replicas, reads, and begins again after a failure."""
        wait = AGAIN_S
        while True:
            began = time.monotonic()
            try:
                async with self.catalogue.leading(f"{self.settings.tenant}/{self.name}") as lost:
                    self.running, self.fault = True, ""
                    await self._until(lost)
            except (SourceAway, StoreAway) as error:
                self.fault = str(error)
                log.warning("source %s, next try in %.0f s: %s", self.name, wait, error)
                wait = AGAIN_S if time.monotonic() - began > LONGEST_AGAIN_S else min(wait * 2, LONGEST_AGAIN_S)
                await asyncio.sleep(wait)
            finally:
                self.running = False

    async def _until(self, lost: asyncio.Event) -> None:
        """Reads until another replica may, or somebody asks to begin anew."""
        self.again.clear()
        self._marks, self.began = None, time.time()
        reading = asyncio.ensure_future(self.source.run(self))
        ends = [asyncio.ensure_future(lost.wait()), asyncio.ensure_future(self.again.wait())]
        try:
            await asyncio.wait([reading, *ends], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            for one in (reading, *ends):
                one.cancel()
            await asyncio.gather(reading, *ends, return_exceptions=True)


@dataclass(slots=True)
class Keeper:
    kept: Mapping[str, Kept]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.kept.values():
                tasks.create_task(one.run())

    def of(self, tenant: str) -> list[Kept]:
        return sorted((one for one in self.kept.values() if one.settings.tenant == tenant), key=lambda one: one.name)

    async def resync(self, tenant: str, name: str) -> None:
        """
        Raises:
            SourceUnknown
        """
        found = self.kept.get(name)
        if found is None or found.settings.tenant != tenant:
            raise SourceUnknown(name)
        await found.catalogue.unmark(tenant, name)
        found.again.set()


def keeper(sources: Mapping[str, SourceSettings], catalogue: Catalogue, intake: Intake, own: Metadata) -> Keeper:
    """
    Raises:
        SourceUnknown: a URL says something that nobody reads.
    """
    return Keeper({
        name: Kept(name, settings, opened(name, settings), catalogue, intake, own) for name, settings in sources.items()
    })  # fmt: skip
