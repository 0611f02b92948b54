"""Static vectors from the encoder, for judging sentences."""

from dataclasses import dataclass

import grpc
import numpy as np
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc

from services.models.compression import Vectors
from services.runtime import telemetry

BATCH = 512
WITHIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Encoded:
    encoder: encoder_pb2_grpc.EncoderServiceStub

    async def __call__(self, texts: list[str]) -> Vectors | None:
        """(n, 256) of unit length; None while the encoder is away."""
        made = []
        try:
            for start in range(0, len(texts), BATCH):
                request = encoder_pb2.EncodeRequest(texts=texts[start : start + BATCH])
                answer = await self.encoder.Encode(request, timeout=WITHIN_S)
                made += [np.frombuffer(vector.values, np.float32) for vector in answer.vectors]
        except grpc.aio.AioRpcError as error:
            telemetry.event("done without", dependency="encoder", code=error.code().name)
            return None
        return np.stack(made)
