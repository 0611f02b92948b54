"""`POST /v1/images/generations` and `/v1/images/edits`."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, image


@dataclass(frozen=True, slots=True)
class Images:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        made = await self.gateway.GenerateImages(image.request(image.parsed(exchange.body)))
        await exchange.answer(image.answer(made), answer.headers(made.road))

    async def change(self, exchange: Exchange, door: Door) -> None:
        asked = image.changed(exchange.headers.get(b"content-type", b""), exchange.body)
        made = await self.gateway.GenerateImages(asked)
        await exchange.answer(image.answer(made), answer.headers(made.road))
