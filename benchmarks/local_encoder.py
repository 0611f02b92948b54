"""The mesh's encoders behind the stub's shape, in this process: benchmarks of one service need no other."""

from tollway.encoder.v1 import encoder_pb2 as pb

from services.encoder.app import tokenizer
from services.encoder.service import EncoderService
from services.encoder.static import StaticEncoder
from services.encoder.transformer import BGE_SMALL, MINILM, Transformer
from services.retrieval import encoding


def best_dense() -> str:
    """The dense model that a new store gets on this machine."""
    return encoding.BGE_SMALL if BGE_SMALL.file.exists() else encoding.MINILM


class LocalEncoder:
    def __init__(self, threads: int = 0) -> None:
        pieces = tokenizer()
        self.static, self.minilm = StaticEncoder(pieces), Transformer(MINILM, pieces, threads)
        tiers: dict[int, Transformer] = {
            pb.TIER_MINILM: self.minilm,
            pb.TIER_BGE_SMALL: Transformer(BGE_SMALL, pieces, threads),
        }
        self._service, self.proved = EncoderService(self.static, tiers), 0

    async def Encode(self, request: pb.EncodeRequest, **_: object) -> pb.EncodeResponse:
        if request.tier == pb.TIER_MINILM:
            self.proved += len(request.texts)
        return await self._service.Encode(request, None)
