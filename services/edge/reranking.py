"""`POST /v1/rerank`, and `/v2/rerank` for clients that ask there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer, rerank

PATHS = ("/v1/rerank", "/v2/rerank")


@dataclass(frozen=True, slots=True)
class Reranking:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    def routes(self) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {path: {"POST": self.answer} for path in PATHS}

    async def answer(self, exchange: Exchange, door: Door) -> None:
        body = rerank.parsed(exchange.body)
        made = await self.gateway.Rerank(rerank.request(body))
        await exchange.answer(rerank.answer(body, made), answer.headers(made.road))
