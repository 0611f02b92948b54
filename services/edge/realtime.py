"""`GET /v1/realtime`: a session of speech and text over a web socket, in OpenAI's events."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.client_secrets import ClientSecrets
from services.edge.door import Door, credential_of
from services.edge.exchange import Gone
from services.edge.sockets import BROKEN, FORBIDDEN, LATER, UNDERSTOOD_NOT, WELL, Handler, Socket
from services.edge.wire import answer, client_secret, options, realtime
from services.edge.wire.errors import Refusal, missing, of_failure, unfit
from services.runtime import channels, identity, telemetry

PATH = "/v1/realtime"
PROTOCOL = "realtime"
PARTING_S = 10.0
"""How much longer the work behind a session may last, so that it is the edge that ends it."""


@dataclass(frozen=True, slots=True)
class Realtime:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    secrets: ClientSecrets
    longest_s: float
    """A session ends after so long."""

    def routes(self) -> dict[str, Handler]:
        return {PATH: self.converse}

    async def converse(self, socket: Socket, door: Door) -> None:
        """The first message of the call brings the head of the answer, so a refusal still gets its own status."""
        opening = await self._opening(socket)
        channels.DEADLINE.set(time.monotonic() + self.longest_s + PARTING_S)
        waiting: asyncio.Queue[str] = asyncio.Queue(1)
        call = self.gateway.Converse(_requests(opening, waiting))
        hearing: asyncio.Task[None] | None = None
        try:
            first: Any = await call.read()
            await socket.accept(answer.headers(first.road), PROTOCOL)
            hearing = asyncio.create_task(_heard(socket, waiting, call))
            await self._told(socket, call, hearing)
        finally:
            call.cancel()
            if hearing is not None:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _opening(self, socket: Socket) -> pb.OpenConversation:
        """What the query asks for, or what a client secret was made for.

        Raises:
            Refusal: no model is named, or something is asked for that is not there.
        """
        query = socket.query
        if (intent := query.get("intent", client_secret.TRANSCRIPTION)) != client_secret.TRANSCRIPTION:
            raise unfit("intent", f"{client_secret.TRANSCRIPTION}, or none for a session that answers: {intent[:64]}")
        made = pb.OpenConversation(
            model=query.get("model") or query.get("deployment") or "", transcribes="intent" in query
        )
        if (shown := credential_of(socket.headers)).startswith(identity.CLIENT_SECRET_PREFIX):
            opens = await self.secrets.opens(shown)
            made.session, made.model = opens.session, made.model or opens.models[0]
            made.transcribes = client_secret.transcribes(opens.session)
        if not made.model:
            raise missing("model")
        if said := socket.headers.get(options.LABELS.encode()):
            made.labels.update(options.labelled(said))
        return made

    async def _told(self, socket: Socket, call: Any, hearing: "asyncio.Task[None]") -> None:
        try:
            async with asyncio.timeout(self.longest_s):
                while (said := await call.read()) is not grpc.aio.EOF:
                    await socket.tell(realtime.declined(said.declined) if said.HasField("declined") else said.event)
        except asyncio.CancelledError:
            if not hearing.done() or hearing.cancelled():
                raise
            if not isinstance(fault := hearing.exception(), Exception):
                raise Gone from None  # the caller has left
            await _broken(socket, of_failure(fault), UNDERSTOOD_NOT)
        except TimeoutError:
            over = Refusal(400, "session_expired", f"a session lasts {self.longest_s:g} s at most")
            await _broken(socket, over, WELL)
        except grpc.aio.AioRpcError as error:
            refusal = of_failure(error)
            await _broken(socket, refusal, _code(refusal))
        else:
            await socket.close(WELL)


async def _requests(opening: pb.OpenConversation, waiting: "asyncio.Queue[str]") -> AsyncIterator[pb.ConverseRequest]:
    yield pb.ConverseRequest(open=opening)
    while True:
        yield pb.ConverseRequest(event=await waiting.get())


async def _heard(socket: Socket, waiting: "asyncio.Queue[str]", call: Any) -> None:
    """Passes on what the caller says. One who leaves ends the session at once, and all work behind it."""
    try:
        async for said in socket.texts():
            await waiting.put(said)
    finally:
        call.cancel()


async def _broken(socket: Socket, refusal: Refusal, code: int) -> None:
    telemetry.note(error__type=refusal.code)
    await socket.tell(realtime.failed(refusal))
    await socket.close(code, refusal.code)


def _code(refusal: Refusal) -> int:
    """What a socket is closed with: whose fault it was, and whether to come again."""
    if refusal.status in (429, 503):
        return LATER
    return BROKEN if refusal.status >= 500 else FORBIDDEN
