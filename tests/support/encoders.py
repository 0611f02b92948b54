"""The mesh's real encoders, loaded once, behind a stub-shaped object."""

from functools import cache

from tollway.encoder.v1 import encoder_pb2 as pb

from services.encoder.app import tokenizer
from services.encoder.service import EncoderService
from services.encoder.static import StaticEncoder
from services.encoder.transformer import MINILM, Transformer


@cache
def static() -> StaticEncoder:
    return StaticEncoder(tokenizer())


@cache
def minilm_session() -> Transformer:
    return Transformer(MINILM, tokenizer(), 1)


class Encoder:
    """Encodes in this process, and counts the texts that reached MiniLM. For one test: it holds on to its loop."""

    def __init__(self) -> None:
        self.proved = 0

    async def Encode(self, request: pb.EncodeRequest, **_: object) -> pb.EncodeResponse:
        texts = list(request.texts)
        if request.tier == pb.TIER_MINILM:
            self.proved += len(texts)
            rows = minilm_session().run(texts)
            return pb.EncodeResponse(vectors=[pb.Vector(model="minilm", values=row.tobytes()) for row in rows])
        return await EncoderService(static(), {}).Encode(request, None)
