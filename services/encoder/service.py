"""Translates messages to the encoders and back."""

from dataclasses import dataclass

from tollway.encoder.v1 import encoder_pb2 as pb
from tollway.encoder.v1.encoder_pb2_grpc import EncoderServiceServicer

from services.encoder import minilm, static


@dataclass(slots=True)
class EncoderService(EncoderServiceServicer):
    static: static.StaticEncoder
    minilm: minilm.MiniLM

    async def Encode(self, request: pb.EncodeRequest, context: object) -> pb.EncodeResponse:
        if request.tier == pb.TIER_MINILM:
            vectors, model = await self.minilm.encode(list(request.texts)), minilm.MODEL
        else:
            vectors, model = [self.static.encode(text) for text in request.texts], static.MODEL
        return pb.EncodeResponse(vectors=[pb.Vector(model=model, values=vector.tobytes()) for vector in vectors])
