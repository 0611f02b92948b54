"""Vectors from the encoder: static ones always, a transformer's when it has time."""

import logging
from dataclasses import dataclass, field
from uuid import uuid4

import grpc
import numpy as np
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.retrieval.store import Vector

log = logging.getLogger(__name__)

MINILM, BGE_SMALL = "minilm", "bge-small"
LOCAL = {MINILM: encoder_pb2.TIER_MINILM, BGE_SMALL: encoder_pb2.TIER_BGE_SMALL}
"""Dense models that the encoder answers; all others are models of the mesh."""
STATIC = "static-minilm-256-1"
AT_ONCE = 512
Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Encoding:
    encoder: encoder_pb2_grpc.EncoderServiceStub
    key: str = field(default="", repr=False)
    """API key for work in the background; empty leaves the dense vectors to nobody."""
    gateway: gateway_pb2_grpc.GatewayServiceStub | None = None
    """Embeds where the dense model is a provider's, so that its cost is known."""
    model: str = MINILM

    @property
    def own(self) -> Metadata:
        """For work that no caller stands behind."""
        return (("authorization", f"Bearer {self.key}"),) if self.key else ()

    async def has(self, model: str) -> bool:
        """Whether the encoder has one of its models.

        Raises:
            grpc.aio.AioRpcError: the encoder is away.
        """
        try:
            made = await self.encoder.ListModels(encoder_pb2.ListModelsRequest(), metadata=self.own)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return False  # one of a release before says nothing of what it has
            raise
        return any(one.tier == LOCAL[model] for one in made.models)

    async def static(self, texts: list[str], metadata: Metadata = ()) -> list[Vector]:
        made: list[Vector] = []
        for start in range(0, len(texts), AT_ONCE):
            made += await self._encode(texts[start : start + AT_ONCE], encoder_pb2.TIER_STATIC, metadata)
        return made

    async def question(self, text: str) -> Vector | None:
        """The dense model's vector of a question; None when it is busy: words and static vectors answer alone."""
        try:
            return (await self._densely([text], ()))[0]
        except grpc.aio.AioRpcError as error:
            log.info("searching without %s: the answer is %s", self.model, error.code().name)
            return None

    async def dense(self, texts: list[str]) -> list[Vector]:
        """
        Raises:
            grpc.aio.AioRpcError: the encoder is busy or away.
        """
        return await self._densely(texts, self.own)

    async def _densely(self, texts: list[str], metadata: Metadata) -> list[Vector]:
        if (tier := LOCAL.get(self.model)) is not None:
            return await self._encode(texts, tier, metadata)
        assert self.gateway is not None
        request = gateway_pb2.EmbedRequest(model=self.model, texts=texts, idempotency_key=str(uuid4()))
        made = [
            np.array(one.values, np.float32)
            for one in (await self.gateway.Embed(request, metadata=metadata)).embeddings
        ]
        return [one / max(float(np.linalg.norm(one)), 1e-12) for one in made]

    async def _encode(self, texts: list[str], tier: "encoder_pb2.Tier.ValueType", metadata: Metadata) -> list[Vector]:
        answer = await self.encoder.Encode(encoder_pb2.EncodeRequest(texts=texts, tier=tier), metadata=metadata)
        return [np.frombuffer(one.values, np.float32) for one in answer.vectors]
