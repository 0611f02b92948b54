"""`/tollway/v1/artifacts`, `/shadows`, `/audit`: the registry over HTTP, for tools that speak no gRPC and for the console."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.registry.v1 import registry_pb2 as pb
from tollway.registry.v1 import registry_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Behind
from services.edge.wire import query
from services.edge.wire import registry as wire


@dataclass(frozen=True, slots=True)
class Registry:
    registry: registry_pb2_grpc.RegistryServiceStub

    async def artifacts(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.registry.ListArtifacts(
            pb.ListArtifactsRequest(page_size=query.limit(asked), page_token=asked.get("page_token", ""))
        )
        await exchange.answer(wire.listed(map(wire.artifact, page.artifacts), page.next_page_token))

    async def shadows(self, exchange: Exchange, door: Door) -> None:
        found = await self.registry.ListShadows(pb.ListShadowsRequest())
        await exchange.answer(wire.listed(map(wire.shadow, found.shadows), ""))

    async def shadow(self, exchange: Exchange, door: Door) -> None:
        """How a shadow stands."""
        name = exchange.path.removeprefix(exchange.route)
        made = await self.registry.GetShadowReport(pb.GetShadowReportRequest(name=name))
        await exchange.answer(orjson.dumps(wire.report(made)))

    async def compare(self, exchange: Exchange, door: Door) -> None:
        """Another system's answer, handed to a shadow."""
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "compare":
            raise exchange.unknown_url
        made = await self.registry.CompareShadow(wire.comparison_of(name, exchange.body))
        await exchange.answer(orjson.dumps({"comparison_id": made.comparison_id or None}), status=202)

    async def audit(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.registry.ListAudit(
            pb.ListAuditRequest(page_size=query.limit(asked), page_token=asked.get("page_token", ""))
        )
        await exchange.answer(wire.listed(map(wire.entry, page.entries), page.next_page_token))

    def routes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/artifacts": {"GET": behind(self.artifacts)},
            "/tollway/v1/shadows": {"GET": behind(self.shadows)},
            "/tollway/v1/audit": {"GET": behind(self.audit)},
        }

    def prefixes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {"/tollway/v1/shadows/": {"GET": behind(self.shadow), "POST": behind(self.compare)}}
