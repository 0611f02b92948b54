"""Texts judged by categories of harm, by a provider's model."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator.metered import Metered
from services.orchestrator.road import Road
from services.runtime import identity
from services.runtime.errors import Failure, Kind


class NoneModerates(Failure):
    kind, reason = Kind.NOT_FOUND, "MODEL_UNKNOWN"
    text = "no model of this mesh that the key may ask for moderates: name one whose entry says `moderation: true`"
    field = "model"


@dataclass(frozen=True, slots=True)
class Moderating:
    road: Road

    async def moderate(self, request: pb.ModerateRequest) -> pb.ModerateResponse:
        """
        Raises:
            NoneModerates: the request names no model, and there is none.
        """
        if not request.model:
            request.model = await self._usual()
        return await Metered(self.road).run(request, request.texts, lambda texts: self._judged(request, texts))

    async def _usual(self) -> str:
        allowed = identity.caller().models
        if not self.road.models.known:
            await self.road.models.read()
        found = (one.name for one in self.road.models.known.values() if one.moderation)
        if not (names := sorted(name for name in found if not allowed or name in allowed)):
            raise NoneModerates
        return names[0]

    async def _judged(self, request: pb.ModerateRequest, texts: list[str]) -> pb.ModerateResponse:
        await self.road.peers.reach("models", self.road.waits.restart_s)
        asked = models_pb2.ModerateRequest(model=request.model, texts=texts, priority=request.priority)
        found = await self.road.peers.models.Moderate(asked)
        return pb.ModerateResponse(moderations=found.moderations, input_tokens=found.input_tokens, model=found.model)
