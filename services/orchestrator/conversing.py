"""Sessions of speech and text: two streams, one to the provider and one back, with everything in between looked at and paid for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator import dialogue
from services.orchestrator.dialogue import Event
from services.orchestrator.failures import EventUnfit, ModelNotAllowed, OpenMissing
from services.orchestrator.metered import known
from services.orchestrator.residency import heed
from services.orchestrator.road import Road
from services.orchestrator.session import Session
from services.runtime import identity, telemetry
from services.runtime.status import info_in, status_of

DOMAIN = "gateway.tollway"
WAITING = 64
"""Events that wait for a slow reader, in each direction."""


@dataclass(frozen=True, slots=True)
class Conversing:
    road: Road

    async def converse(self, requests: AsyncIterator[pb.ConverseRequest]) -> AsyncGenerator[pb.ConverseResponse, None]:
        """
        Raises:
            OpenMissing, EventUnfit, NobodyCan, ModelNotAllowed, RegionNotAllowed
            AioRpcError: what the models service says.
        """
        first = await anext(requests, None)
        if first is None or not first.HasField("open"):
            raise OpenMissing
        caller, trace, transcribes = identity.caller(), telemetry.current(), first.open.transcribes
        if transcribes:
            model = await known(self.road, first.open.model, lambda one: one.second_tokens > 0, "second_tokens")
        else:
            model = await known(self.road, first.open.model, lambda one: one.realtime, "realtime")
        wished = _wished(first.open.session)
        if not caller.allows(model.name):
            raise ModelNotAllowed(model=model.name)
        heed(model, caller.regions)
        self.road.desk.room()
        await self.road.peers.reach("models", self.road.waits.restart_s)
        wires = _Wires(asyncio.Queue(WAITING), asyncio.Queue(WAITING))
        opening = models_pb2.OpenSession(model=model.name, priority=first.open.priority, transcribes=transcribes)
        await wires.out.put(models_pb2.ConverseRequest(open=opening))
        call = self.road.peers.models.Converse(wires.taken())
        labels = dict(first.open.labels)
        session = Session(self.road, model, labels, wires.send, wires.tell, wires.decline, transcribes, wished)
        tasks = list[asyncio.Task[None]]()
        try:
            answered: Any = await call.read()
            yield pb.ConverseResponse(road=pb.Road(trace_id=trace.hex if trace else "", model=model.name))
            begun = asyncio.Event()
            for work in (_told(session, call, answered, begun, wires), _asked(session, requests, begun, wires)):
                tasks.append(asyncio.create_task(work))
            while (said := await wires.back.get()) is not None:
                if isinstance(said, Exception):
                    raise said
                yield said
        finally:
            for task in tasks:
                task.cancel()
            call.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            session.close()


@dataclass(frozen=True, slots=True)
class _Wires:
    """What waits to be sent, in each direction."""

    out: "asyncio.Queue[models_pb2.ConverseRequest | None]"
    """To the provider; None is the end."""
    back: "asyncio.Queue[pb.ConverseResponse | Exception | None]"
    """To the caller; None ends the session well."""

    async def send(self, event: str) -> None:
        await self.out.put(models_pb2.ConverseRequest(event=event))

    async def tell(self, event: str) -> None:
        await self.back.put(pb.ConverseResponse(event=event))

    async def decline(self, error: Exception, event_id: str) -> None:
        await self.back.put(pb.ConverseResponse(declined=_declined(error, event_id)))

    async def taken(self) -> AsyncIterator[models_pb2.ConverseRequest]:
        while (one := await self.out.get()) is not None:
            yield one


async def _told(session: Session, call: Any, said: Any, begun: asyncio.Event, wires: _Wires) -> None:
    """What the provider says, to its end. The caller is heard once the first of it is understood."""
    try:
        while said is not grpc.aio.EOF:
            await session.told(said)
            begun.set()
            said = await call.read()
    except Exception as error:  # noqa: BLE001 - handed to whoever reads, and raised there
        await wires.back.put(error)
    else:
        await wires.back.put(None)


async def _asked(
    session: Session, requests: AsyncIterator[pb.ConverseRequest], begun: asyncio.Event, wires: _Wires
) -> None:
    """What the caller says; its end is the session's."""
    await begun.wait()
    try:
        async for one in requests:
            if one.WhichOneof("message") != "event":
                raise OpenMissing
            await session.asked(one.event)
    except Exception as error:  # noqa: BLE001 - handed to whoever reads, and raised there
        await wires.back.put(error)
    else:
        await wires.out.put(None)


def _wished(said: str) -> Event:
    """How the caller wants a session to begin.

    Raises:
        EventUnfit: that is no JSON, or no object.
    """
    wished = dialogue.read(said, "session") if said else {}
    if not isinstance(wished, dict):
        raise EventUnfit(at="session", rule="not an object")
    return wished


def _declined(error: Exception, event_id: str) -> pb.Declined:
    status = status_of(error, DOMAIN)
    said = pb.Declined(code=status.code, reason=info_in(status).reason, message=status.message, event_id=event_id)
    if isinstance(error, EventUnfit):
        said.field = error.facts["at"]
    for detail in status.details:
        retry = RetryInfo()
        if detail.Unpack(retry):
            said.retry_after.CopyFrom(retry.retry_delay)
    return said
