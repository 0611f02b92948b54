"""An answer in pieces as it is made, whichever wire's they are: server-sent events, but for one."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.exchange import EVENTS, Headers
from services.edge.wire.errors import Refusal, of_failure
from services.runtime import telemetry


class Events(Protocol):
    """What a wire says of each thing that happens; empty for nothing."""

    def begin(self) -> bytes: ...

    def add(self, chunk: chat.ChatChunk) -> bytes: ...

    def end(self, said: pb.StreamCompleteResponse) -> bytes:
        """The answer is whole: its usage, and what it cost."""
        ...

    def fail(self, refusal: Refusal) -> bytes:
        """It broke off after its first byte: never what [end][] says."""
        ...


class Listener(Protocol):
    """Whoever an answer goes to."""

    async def begin(self, status: int, headers: Headers) -> None: ...

    async def write(self, piece: bytes) -> None: ...

    async def end(self) -> None: ...


async def streamed(
    listener: Listener,
    call: Any,
    headers: Callable[[pb.Road], Headers],
    events: Callable[[pb.Road], Events],
    ending: Callable[[pb.StreamCompleteResponse], Awaitable[None]] | None = None,
    head: Headers = EVENTS,
) -> None:
    """The first message of the call brings the head of the answer, so a refusal still gets its own status. `ending` is called with the
    last, before its end is told."""
    try:
        first: Any = await call.read()
        told = events(first.road)
        await listener.begin(200, [*head, *headers(first.road)])
        await _written(listener, told.begin())
        try:
            said: Any
            while (said := await call.read()) is not grpc.aio.EOF:
                if said.HasField("road") and ending is not None:
                    await ending(said)
                await _written(listener, told.end(said) if said.HasField("road") else told.add(said.chunk))
        except grpc.aio.AioRpcError as error:
            refusal = of_failure(error)
            telemetry.note(error__type=refusal.code)
            await _written(listener, told.fail(refusal))
        await listener.end()
    finally:
        call.cancel()


async def _written(listener: Listener, piece: bytes) -> None:
    if piece:
        await listener.write(piece)
