"""`POST /v1/audio/speech`: the file as it comes, or as events."""

from dataclasses import dataclass
from typing import Any

import grpc
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import EVENTS, Exchange
from services.edge.wire import answer, speech
from services.edge.wire.errors import of_failure
from services.runtime import telemetry


@dataclass(frozen=True, slots=True)
class Speech:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        """The first message of the call brings the head of the answer, so a refusal still gets its own status."""
        said = speech.parsed(exchange.body)
        call = self.gateway.Speak(speech.request(said))
        try:
            first: Any = await call.read()
            headers = answer.headers(first.road)
            if said.stream_format == "sse":
                await exchange.begin(200, [*EVENTS, *headers])
                await self._told(exchange, call, first)
            else:
                await exchange.begin(200, [(b"content-type", first.content_type.encode()), *headers])
                await self._sounded(exchange, call, first)
        finally:
            call.cancel()
        await exchange.end()

    async def _sounded(self, exchange: Exchange, call: Any, piece: Any) -> None:
        """A file that breaks off ends with the connection: nobody takes it for whole."""
        while piece is not grpc.aio.EOF:
            if piece.audio:
                await exchange.write(piece.audio)
            piece = await call.read()

    async def _told(self, exchange: Exchange, call: Any, piece: Any) -> None:
        try:
            while piece is not grpc.aio.EOF:
                if told := speech.events(piece):
                    await exchange.write(told)
                piece = await call.read()
        except grpc.aio.AioRpcError as error:
            refusal = of_failure(error)
            telemetry.note(error__type=refusal.code)
            await exchange.write(speech.failed(refusal))
