"""The mesh's encoders behind the stub's shape, in this process: benchmarks of one service need no other."""

from tollway.encoder.v1 import encoder_pb2 as pb

from services.encoder import static
from services.encoder.app import tokenizer
from services.encoder.minilm import MiniLM
from services.encoder.static import StaticEncoder


class LocalEncoder:
    def __init__(self, threads: int = 0) -> None:
        pieces = tokenizer()
        self.static, self.minilm = StaticEncoder(pieces), MiniLM(pieces, threads)
        self.proved = 0

    async def Encode(self, request: pb.EncodeRequest, **_: object) -> pb.EncodeResponse:
        texts = list(request.texts)
        if request.tier == pb.TIER_MINILM:
            self.proved += len(texts)
            vectors = await self.minilm.encode(texts)
        else:
            vectors = [self.static.encode(text) for text in texts]
        return pb.EncodeResponse(vectors=[pb.Vector(model=static.MODEL, values=one.tobytes()) for one in vectors])
