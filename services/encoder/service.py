"""Translates messages to the encoders and back."""

from collections.abc import Mapping
from dataclasses import dataclass

from tollway.encoder.v1 import encoder_pb2 as pb
from tollway.encoder.v1.encoder_pb2_grpc import EncoderServiceServicer

from services.encoder import quantize, static
from services.encoder.transformer import Transformer


@dataclass(slots=True)
class EncoderService(EncoderServiceServicer):
    static: static.StaticEncoder
    transformers: Mapping[int, Transformer]
    """By tier."""

    async def Encode(self, request: pb.EncodeRequest, context: object) -> pb.EncodeResponse:
        if (transformer := self.transformers.get(request.tier)) is not None:
            vectors, model = await transformer.encode(list(request.texts)), transformer.model.name
        else:
            vectors, model = [self.static.encode(text) for text in request.texts], static.MODEL
        return pb.EncodeResponse(vectors=[pb.Vector(model=model, values=vector.tobytes()) for vector in vectors])

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        made = [pb.Model(tier=pb.TIER_STATIC, name=static.MODEL, dimensions=static.DIMENSIONS)]
        for tier, one in sorted(self.transformers.items()):
            if one.installed:
                made.append(pb.Model(tier=pb.Tier.ValueType(tier), name=one.model.name, dimensions=quantize.WIDTH))
        return pb.ListModelsResponse(models=made)
