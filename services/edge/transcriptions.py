"""`POST /v1/audio/transcriptions`."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, transcript


@dataclass(frozen=True, slots=True)
class Transcriptions:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        said = transcript.parsed(exchange.headers.get(b"content-type", b""), exchange.body)
        made = await self.gateway.Transcribe(transcript.request(said))
        body, kind = transcript.answer(said.format, made)
        await exchange.answer(body, answer.headers(made.road), kind=(b"content-type", kind))
