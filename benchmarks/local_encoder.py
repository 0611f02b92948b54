"""The mesh's encoders behind the stub's shape, in this process: benchmarks of one service need no other."""

from tollway.encoder.v1 import encoder_pb2 as pb

from services.encoder import static
from services.encoder.app import tokenizer
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
        self.bge_small = Transformer(BGE_SMALL, pieces, threads)
        self.proved = 0

    async def Encode(self, request: pb.EncodeRequest, **_: object) -> pb.EncodeResponse:
        texts = list(request.texts)
        if request.tier == pb.TIER_MINILM:
            self.proved += len(texts)
            vectors = await self.minilm.encode(texts)
        elif request.tier == pb.TIER_BGE_SMALL:
            vectors = await self.bge_small.encode(texts)
        else:
            vectors = [self.static.encode(text) for text in texts]
        return pb.EncodeResponse(vectors=[pb.Vector(model=static.MODEL, values=one.tobytes()) for one in vectors])
