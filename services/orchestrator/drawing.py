"""Pictures, by a provider's model."""

from dataclasses import dataclass

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator import bounds
from services.orchestrator.metered import Metered, known
from services.orchestrator.road import Road


@dataclass(frozen=True, slots=True)
class Drawing:
    road: Road

    async def draw(self, request: pb.GenerateImagesRequest) -> pb.GenerateImagesResponse:
        """
        Raises:
            NobodyCan: the request names no model, and there is none.
        """
        model = await known(self.road, request.model, lambda one: one.image_tokens > 0, "image_tokens")
        request.model = model.name
        most = model.image_tokens * (request.count or 1)
        seen = bounds.PICTURE_CHANGED * (len(request.pictures) + request.HasField("mask"))
        kinds = chat.TokenKinds(image_input_tokens=seen, image_output_tokens=most)
        beside = chat.Usage(input_tokens=seen, output_tokens=most, kinds=kinds)
        metered = Metered(self.road, "chat", lambda _: beside)
        return await metered.run(request, [request.prompt], lambda texts: self._drawn(request, texts[0]))

    async def _drawn(self, request: pb.GenerateImagesRequest, prompt: str) -> pb.GenerateImagesResponse:
        await self.road.peers.reach("models", self.road.waits.restart_s)
        asked = models_pb2.GenerateImagesRequest(
            model=request.model,
            prompt=prompt,
            count=request.count,
            options=request.options,
            priority=request.priority,
            pictures=request.pictures,
            mask=request.mask if request.HasField("mask") else None,
        )
        found = await self.road.peers.models.GenerateImages(asked)
        return pb.GenerateImagesResponse(
            images=found.images, usage=found.usage, model=found.model, options=found.options
        )
