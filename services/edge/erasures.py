"""`/tollway/v1/erasures`: a tenant, or what is kept of one of its end users, erased in every service, with a receipt."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import erasure as wire


@dataclass(frozen=True, slots=True)
class Erasures:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def tenant(self, exchange: Exchange, door: Door) -> None:
        made = await self.gateway.EraseTenant(wire.tenant_of(exchange.body))
        await exchange.answer(orjson.dumps(wire.receipt(made.receipt)))

    async def subject(self, exchange: Exchange, door: Door) -> None:
        made = await self.gateway.EraseSubject(wire.subject_of(exchange.body))
        await exchange.answer(orjson.dumps(wire.receipt(made.receipt)))

    def routes(self) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/erasures/tenant": {"POST": self.tenant},
            "/tollway/v1/erasures/subject": {"POST": self.subject},
        }
