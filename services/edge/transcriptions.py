"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, transcript


@dataclass(frozen=True, slots=True)
class Transcriptions:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    translate: bool = False
    """Into English."""

    async def answer(self, exchange: Exchange, door: Door) -> None:
        known = transcript.TRANSLATED if self.translate else transcript.WRITTEN
        said = transcript.parsed(exchange.headers.get(b"content-type", b""), exchange.body, known)
        made = await self.gateway.Transcribe(transcript.request(said, self.translate))
        body, kind = transcript.answer(said.format, made, "translate" if self.translate else "transcribe")
        await exchange.answer(body, answer.headers(made.road), kind=(b"content-type", kind))
