"""Texts judged by categories of harm, by a provider's model."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator.metered import Metered, usual
from services.orchestrator.road import Road


@dataclass(frozen=True, slots=True)
class Moderating:
    road: Road

    async def moderate(self, request: pb.ModerateRequest) -> pb.ModerateResponse:
        """
        Raises:
            NobodyCan: the request names no model, and there is none.
        """
        if not request.model:
            request.model = await usual(self.road, lambda one: one.moderation, "moderation")
        return await Metered(self.road).run(request, request.texts, lambda texts: self._judged(request, texts))

    async def _judged(self, request: pb.ModerateRequest, texts: list[str]) -> pb.ModerateResponse:
        await self.road.peers.reach("models", self.road.waits.restart_s)
        asked = models_pb2.ModerateRequest(model=request.model, texts=texts, priority=request.priority)
        found = await self.road.peers.models.Moderate(asked)
        return pb.ModerateResponse(moderations=found.moderations, input_tokens=found.input_tokens, model=found.model)
