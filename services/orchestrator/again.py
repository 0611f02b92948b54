"""Asks again, beside the request, what the cache answered: a sample of its hits to see whether they were right, and answers whose
time was over. Under the caller's own account and budgets, at low priority, and dropped when that fails."""

import random
from dataclasses import dataclass, field
from functools import partial

import grpc
from tollway.cache.v1 import cache_pb2

from services.orchestrator.journey import Journey
from services.orchestrator.road import Road
from services.runtime import telemetry
from services.runtime.errors import Failure

LABEL, WHY_SAMPLED, WHY_STALE = "tollway.asked_again", "sampled", "stale"
MOST_LABELS = 16
MOST = 64
"""Asked at a time; more are not."""
REPORT_S = 10.0


@dataclass(slots=True)
class Again:
    road: Road
    share: float = 0.0
    """Of hits that meant the same but were not the same, how many are asked again."""
    _under_way: set[str] = field(default_factory=set)

    def after(self, journey: Journey) -> None:
        """Asks again where that is due. One question is asked once at a time."""
        hit = journey.hit
        if hit is None or journey.exact_key in self._under_way or len(self._under_way) >= MOST:
            return
        sampled = hit.match == cache_pb2.MATCH_SEMANTIC and random.random() < self.share
        if sampled or hit.stale:
            self._under_way.add(journey.exact_key)
            self.road.desk.later(partial(self._asked, journey, hit, WHY_STALE if hit.stale else WHY_SAMPLED))

    async def _asked(self, first: Journey, hit: cache_pb2.LookupResponse, why: str) -> None:
        try:
            await self._answered(first, hit, why)
        except (Failure, grpc.aio.AioRpcError) as error:
            said = error.code().name if isinstance(error, grpc.aio.AioRpcError) else error.reason
            telemetry.event("not asked again", reason=said)
        finally:
            self._under_way.discard(first.exact_key)

    async def _answered(self, first: Journey, hit: cache_pb2.LookupResponse, why: str) -> None:
        journey = first.again()
        if len(journey.chat.metadata) < MOST_LABELS:
            journey.chat.metadata[LABEL] = why
        await self.road.prepare(journey)
        with self.road.money.unless_given_up(journey):
            made = await self.road.answer(journey)
        self.road.finish(journey, made)
        report = cache_pb2.ReportHitRequest(entry_id=hit.entry_id, fresh=made)
        await self.road.peers.cache.ReportHit(report, timeout=REPORT_S)
