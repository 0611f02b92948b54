"""`POST /v1/embeddings`."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, request


@dataclass(frozen=True, slots=True)
class Embeddings:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        asked, in_base64 = request.embed_request(exchange.body)
        made = await self.gateway.Embed(asked)
        await exchange.answer(answer.embeddings(made, in_base64=in_base64), answer.headers(made.road))
