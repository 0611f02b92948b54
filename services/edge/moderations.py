"""`POST /v1/moderations`."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, moderation


@dataclass(frozen=True, slots=True)
class Moderations:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        made = await self.gateway.Moderate(moderation.request(moderation.parsed(exchange.body)))
        await exchange.answer(moderation.answer(made), answer.headers(made.road))
