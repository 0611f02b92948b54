"""Builds retrieval from its settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.guard.v1 import guard_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.retrieval import stores
from services.retrieval.collecting import Collecting
from services.retrieval.dense import Models, PostgresModels, chosen
from services.retrieval.encoding import Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.following import Following
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest, Partition
from services.retrieval.intake import Intake
from services.retrieval.migrating import Migrating
from services.retrieval.moves import PostgresMoves
from services.retrieval.postgres import PostgresCatalogue
from services.retrieval.reranker import Reranker
from services.retrieval.screening import Pii, Screening
from services.retrieval.search import Search
from services.retrieval.service import RetrievalService
from services.retrieval.shelf import GenerationUnknown, Shelf
from services.retrieval.sources import SourceSettings
from services.retrieval.sources.keeper import keeper
from services.runtime import channels, metrics, postgres
from services.runtime.background import running
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving

MIGRATIONS = Path(__file__).parent / "migrations"


FIRST, START = "first", ("", "", "")
"""What stands above `generations` in the settings; and before the first document of all."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Where passages are kept, and what their dense vectors are made by."""

    store: str
    """As `store` of the section."""
    store_key: str = field(default="", repr=False)
    dense: str = ""
    dimensions: int = 384


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `retrieval` of the file, `TOLLWAY_RETRIEVAL__*` in the environment."""

    database_url: str = field(repr=False)
    """The catalogue of documents, what is parked, and who reads which source."""
    database_connections: int = 8
    """Beside one for each source."""
    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50056"))
    ledger: str = "127.0.0.1:50055"
    encoder: str = "127.0.0.1:50052"
    guard: str = "127.0.0.1:50051"
    """Looks at documents of tenants whose personal data is masked or kept out."""
    store: str = "edge:.tollway/retrieval"
    """`edge:FOLDER` for Qdrant's engine in this process, `http://HOST:6334` for a Qdrant server's gRPC port,
    `milvus:http://HOST:19530`, or `pinecone:HOST,HOST` for two indexes of 256 and 384 dimensions."""
    store_key: str = field(default="", repr=False)
    """API key of the store."""
    dense: str = ""
    """The model of dense vectors: `bge-small`, `minilm`, or a model of the mesh that embeds. Empty: what the store has vectors of; a
    new one gets BGE-small's where the encoder has it."""
    dimensions: int = 384
    """Of its vectors."""
    generations: Mapping[str, GenerationSettings] = field(default_factory=dict)
    """Stores and models that `tollway retrieval migrate` can move to, by name; what stands above is `first`."""
    orchestrator: str = "127.0.0.1:50057"
    """Embeds, where the dense model is a provider's."""
    key: str = field(default="", repr=False)
    """API key that the work in the background uses: without one no dense vectors are made, and no source is read."""
    partition: Partition = field(default_factory=Partition)
    pii: Mapping[str, Pii] = field(default_factory=dict)
    """By tenant, `*` for all others: `keep` (the default), `mask` or `refuse` documents with personal data."""
    reranker: str = ""
    """Address of a cross-encoder behind text-embeddings-inference's wire; empty for none."""
    reranker_key: str = field(default="", repr=False)
    reranker_within_s: float = 0.2
    """What comes later is not waited for: the order without it stands."""
    sources: Mapping[str, SourceSettings] = field(default_factory=dict)
    """What is read by itself, by name."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what retrieval owns, yields the service, closes in reverse order."""
    connections = settings.database_connections + len(settings.sources)
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as channel,
        channels.open(settings.encoder, settings.serve.tls, waits=True) as encoder,
        channels.open(settings.guard, settings.serve.tls, waits=True) as guard,
        channels.open(settings.orchestrator, settings.serve.tls, waits=True) as gateway,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)) as identity,
        postgres.opened(settings.database_url, "retrieval", MIGRATIONS, connections, sessions=True) as pool,
    ):
        catalogue, moves, models = PostgresCatalogue(pool), PostgresMoves(pool), PostgresModels(pool)
        await catalogue.restarted()
        stub = encoder_pb2_grpc.EncoderServiceStub(encoder)
        shelf = Shelf(partial(_opened, settings, catalogue, models, stub, gateway_pb2_grpc.GatewayServiceStub(gateway)))
        try:
            generations = Generations(await shelf.open((await moves.get(FIRST)).active))
            encoding, epochs = generations.active.encoding, Epochs(catalogue)
            screening = Screening(guard_pb2_grpc.GuardServiceStub(guard), settings.pii)
            ingest = Ingest(generations, catalogue, encoding, epochs, screening, settings.partition)
            intake = Intake(ingest, catalogue)
            reranker = Reranker(settings.reranker, settings.reranker_key) if settings.reranker else None
            search = Search(generations, reranker, settings.reranker_within_s)
            following = Following(generations, ingest.wake)
            metrics.gauge("tollway.retrieval.behind", "s", "How far dense vectors are behind.", lambda: [(following.lag_s, {})])  # fmt: skip
            sources = keeper(settings.sources if settings.key else {}, catalogue, intake, encoding.own)
            names = frozenset({FIRST, *settings.generations})
            migrating = Migrating(generations, shelf, moves, models, catalogue, ingest.turns, names, following)
            await migrating.look()
            collecting = Collecting(ingest, catalogue)
            service = RetrievalService(intake, search, catalogue, epochs, sources, migrating, collecting)
            works = (
                epochs.follow(catalogue),
                following.run(),
                sources.run(),
                migrating.follow(),
                migrating.lead(),
                shelf.watch(),
                collecting.run(),
            )
            try:
                async with running(*works):
                    yield Service(
                        name="tollway.retrieval.v1.RetrievalService",
                        domain="retrieval.tollway",
                        register=partial(retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server, service),
                        identity=identity,
                        largest_message_bytes=64 << 20,
                        backend=_backend(settings, encoding.model),
                    )
            finally:
                await intake.aside.close()
                if reranker is not None:
                    await reranker.close()
        finally:
            await shelf.close_all()


@asynccontextmanager
async def _opened(
    settings: Settings,
    catalogue: PostgresCatalogue,
    models: Models,
    encoder: encoder_pb2_grpc.EncoderServiceStub,
    gateway: gateway_pb2_grpc.GatewayServiceStub,
    name: str,
) -> AsyncIterator[Generation]:
    """
    Raises:
        GenerationUnknown, OtherModel, StoreAway
    """
    first = GenerationSettings(settings.store, settings.store_key, settings.dense, settings.dimensions)
    own = first if name == FIRST else settings.generations.get(name)
    if own is None:
        raise GenerationUnknown(name)
    encoding = Encoding(encoder, settings.key, gateway)
    older = name == FIRST and bool(await catalogue.keys(START, 1))
    encoding.model = await chosen(name, own.dense, models, encoding, older=older)
    label = "" if name == FIRST else name
    async with stores.opened(own.store, own.store_key, catalogue, own.dimensions, label) as store:
        yield Generation(name, store, encoding)


def _backend(settings: Settings, model: str) -> str:
    alone = ": a single replica" if stores.single(settings.store) else ""
    sources = f", {len(settings.sources)} sources" if settings.sources else ""
    return f"{settings.store}, {model}{alone}{sources}"
