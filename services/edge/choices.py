"""`/tollway/v1/insight`, `/replay`: what the cache did, and what the router would have chosen under another policy, over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from tollway.cache.v1 import cache_pb2, cache_pb2_grpc
from tollway.router.v1 import router_pb2, router_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Behind
from services.edge.wire import query
from services.edge.wire.errors import Refusal
from services.edge.wire.page import plain

HOURS, MOST_HOURS = 168, 24 * 366


@dataclass(frozen=True, slots=True)
class Choices:
    cache: cache_pb2_grpc.CacheServiceStub
    router: router_pb2_grpc.RouterServiceStub

    async def insight(self, exchange: Exchange, door: Door) -> None:
        asked = cache_pb2.GetInsightRequest(template=exchange.query.get("template", ""))
        await exchange.answer(orjson.dumps(plain(await self.cache.GetInsight(asked))))

    async def replay(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        hours = query.number(asked, "hours", HOURS)
        if not 1 <= hours <= MOST_HOURS:
            raise Refusal(400, "invalid_value", f"hours: from 1 to {MOST_HOURS}", param="hours")
        request = router_pb2.ReplayRequest(
            rule=asked.get("rule", "cheapest_above"), models=[one for one in asked.get("models", "").split(",") if one]
        )
        if floor := asked.get("quality_floor", ""):
            try:
                request.quality_floor = float(floor)
            except ValueError:
                raise Refusal(
                    400, "invalid_value", "quality_floor: a number from 0 to 1", param="quality_floor"
                ) from None
        request.since.FromDatetime(datetime.now(UTC) - timedelta(hours=hours))
        await exchange.answer(orjson.dumps(plain(await self.router.Replay(request))))

    def routes(self, cache: Behind, router: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/insight": {"GET": cache(self.insight)},
            "/tollway/v1/replay": {"GET": router(self.replay)},
        }
