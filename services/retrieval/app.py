"""Builds retrieval from its settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.retrieval.edge import EdgeStore
from services.retrieval.library import Library
from services.retrieval.service import RetrievalService
from services.runtime import channels
from services.runtime.background import running
from services.runtime.folders import alone
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `retrieval` of the file, `TOLLWAY_RETRIEVAL__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50056"))
    ledger: str = "127.0.0.1:50055"
    encoder: str = "127.0.0.1:50052"
    store: str = ".tollway/retrieval"
    """Folder of the Qdrant Edge shard."""
    key: str = field(default="", repr=False)
    """API key that the work in the background uses: without one no MiniLM vectors are made."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what retrieval owns, yields the service, closes in reverse order."""
    async with (
        AsyncExitStack() as stack,
        channels.open(settings.ledger, settings.serve.tls, waits=True) as channel,
        channels.open(settings.encoder, settings.serve.tls, waits=True) as encoder,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)) as identity,
    ):
        stack.enter_context(alone(Path(settings.store)))
        store = EdgeStore(Path(settings.store))
        store.open()
        try:
            library = Library(store, encoder_pb2_grpc.EncoderServiceStub(encoder), settings.key)
            async with running(store.run(), library.follow()):
                yield Service(
                    name="tollway.retrieval.v1.RetrievalService",
                    domain="retrieval.tollway",
                    register=partial(
                        retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server, RetrievalService(library)
                    ),
                    identity=identity,
                    largest_message_bytes=8 << 20,
                    backend=f"qdrant edge, {settings.store}: a single replica",
                )
        finally:
            store.close()
