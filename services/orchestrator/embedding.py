"""Embeddings: by a provider's model, or by the encoder of the mesh."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator import encoded
from services.orchestrator.encoded import LOCAL
from services.orchestrator.metered import Metered
from services.orchestrator.road import Road
from services.runtime.errors import Failure, Kind


class TooManyDimensions(Failure):
    kind, reason = Kind.INVALID, "TOO_MANY_DIMENSIONS"
    text = "{model} has {most} dimensions"
    field = "dimensions"


@dataclass(frozen=True, slots=True)
class Embedding:
    road: Road

    async def embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        work = self._here if request.model in LOCAL else self._there
        return await Metered(self.road).run(request, request.texts, lambda texts: work(request, texts))

    async def _there(self, request: pb.EmbedRequest, texts: list[str]) -> pb.EmbedResponse:
        await self.road.peers.reach("models", self.road.waits.restart_s)
        asked = models_pb2.EmbedRequest(
            model=request.model, texts=texts, dimensions=request.dimensions, priority=request.priority
        )
        found = await self.road.peers.models.Embed(asked)
        return pb.EmbedResponse(embeddings=found.embeddings, input_tokens=found.input_tokens, model=found.model)

    async def _here(self, request: pb.EmbedRequest, texts: list[str]) -> pb.EmbedResponse:
        made = pb.EmbedResponse(model=request.model, input_tokens=encoded.tokens(texts))
        for vector in await encoded.vectors(self.road, request.model, texts):
            made.embeddings.add(values=_cut(request, vector))
        return made


def _cut(request: pb.EmbedRequest, values: NDArray[np.float32]) -> list[float]:
    if request.dimensions > len(values):
        raise TooManyDimensions(model=request.model, most=len(values))
    if request.dimensions:
        values = values[: request.dimensions] / max(float(np.linalg.norm(values[: request.dimensions])), 1e-9)
    return [float(one) for one in values]
