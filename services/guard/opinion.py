"""How likely a text is to attack the model, with a second opinion of MiniLM's where the first is not sure."""

from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc

from services.guard.injection import MOST_SECOND, SEEN, Injection, Vector, parted
from services.runtime import telemetry

WITHIN_S = 0.5


class Transformer(Protocol):
    async def __call__(self, texts: list[str]) -> list[Vector] | None:
        """(384,) for each; None where nobody can say."""
        ...


@dataclass(frozen=True, slots=True)
class MiniLM:
    """The encoder's, on behalf of who calls."""

    encoder: encoder_pb2_grpc.EncoderServiceStub

    async def __call__(self, texts: list[str]) -> list[Vector] | None:
        request = encoder_pb2.EncodeRequest(texts=texts, tier=encoder_pb2.TIER_MINILM)
        try:
            made = await self.encoder.Encode(request, timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            telemetry.event("done without", dependency="encoder", code=error.code().name)
            return None
        return [np.frombuffer(one.values, np.float32) for one in made.vectors]


@dataclass(frozen=True, slots=True)
class Opinion:
    injection: Injection
    transformer: Transformer

    async def probability(self, text: str, vector: Vector | None = None) -> float:
        """Calibrated chance that `text` attacks; the worst of its parts counts. `vector` (256,) is its static vector, where
        there is one. Without the encoder the first classifier's word stands."""
        parts = self.injection.judged(text, vector)
        unsure = [one for one in parts if one.unsure][:MOST_SECOND]
        if not unsure:
            return parts[0].probability if parts else 0.0
        asked = [(one, seen) for one in unsure for seen in parted(one.text, SEEN)]
        vectors = await self.transformer([seen for _, seen in asked])
        if vectors is None:
            return parts[0].probability
        again = [self.injection.weighed(one, vector) for (one, _), vector in zip(asked, vectors, strict=True)]
        return max(again + [one.probability for one in parts if one not in unsure])
