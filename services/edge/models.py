"""`GET /v1/models` and `GET /v1/models/{id}`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.models.v1 import models_pb2

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer
from services.edge.wire.errors import Refusal


@dataclass(frozen=True, slots=True)
class Models:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def list(self, exchange: Exchange, door: Door) -> None:
        await exchange.answer(answer.models([one async for one in self.all()]))

    async def get(self, exchange: Exchange, door: Door) -> None:
        one = await self.one(exchange.path.removeprefix(exchange.route))
        await exchange.answer(orjson.dumps(answer.model(one)))

    async def one(self, name: str) -> models_pb2.Model:
        """
        Raises:
            Refusal: there is none of that name, or the key may not use it.
        """
        async for one in self.all():
            if one.name == name:
                return one
        raise Refusal(404, "model_not_found", f"the model {name[:256]!r} does not exist", param="model")

    async def all(self) -> AsyncIterator[models_pb2.Model]:
        token = ""
        while True:
            page = await self.gateway.ListModels(pb.ListModelsRequest(page_token=token))
            for one in page.models:
                yield one
            if not (token := page.next_page_token):
                return
