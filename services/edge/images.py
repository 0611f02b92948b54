"""`POST /v1/images/generations` and `/v1/images/edits`."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, image


@dataclass(frozen=True, slots=True)
class Images:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        await self._made(exchange, image.request(image.parsed(exchange.body)))

    async def change(self, exchange: Exchange, door: Door) -> None:
        await self._made(exchange, image.changed(exchange.headers.get(b"content-type", b""), exchange.body))

    async def _made(self, exchange: Exchange, asked: pb.GenerateImagesRequest) -> None:
        made = await self.gateway.GenerateImages(asked)
        await exchange.answer(image.answer(made), answer.headers(made.road))
