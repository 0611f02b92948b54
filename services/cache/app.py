"""Builds the cache from its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from tollway.cache.v1 import cache_pb2_grpc
from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc

from services.cache.bound import Bounds
from services.cache.cache import Cache
from services.cache.edge import EdgeStore
from services.cache.insight import Insights
from services.cache.proof import Prover
from services.cache.screen import Screen
from services.cache.service import CacheService, Kept
from services.cache.store import Store
from services.cache.verifier import Verifier
from services.runtime import channels
from services.runtime.background import running
from services.runtime.folders import alone
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `cache` of the file, `TOLLWAY_CACHE__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50053"))
    ledger: str = "127.0.0.1:50055"
    encoder: str = "127.0.0.1:50052"
    store: str = "edge:.tollway/cache"
    """`edge:FOLDER` for Qdrant's engine in this process, `http://HOST:6334` for a server's gRPC port."""
    store_key: str = field(default="", repr=False)
    """API key of the Qdrant server."""
    encryption_key: str = field(default="", repr=False)
    """Encrypts stored texts and answers; empty stores them plain."""
    error_bound: float = 0.01
    """Of a tenant's semantic look-ups, the share that may be answered wrongly."""
    error_bounds: dict[str, float] = field(default_factory=dict)
    """The same of tenants with a bound of their own."""
    threshold: float = 0.9
    """Chance of being right from which a semantic hit is served, until the bound and a tenant's own look-ups say better."""
    ttl_s: float = 86_400.0
    ttls: dict[str, float] = field(default_factory=dict)
    """The same of some kinds of answers: `grounded`, and of those that are kept only when asked to be, `time_sensitive`, `personal`,
    `tool_calls`, `random`."""
    most_ttl_s: float = 31_622_400.0
    """The longest that a request may ask for."""
    most_entries: int = 1_000_000


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the cache owns, yields the service, closes in reverse order."""
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as channel,
        channels.open(settings.encoder, settings.serve.tls, waits=True) as encoder,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)) as identity,
        _opened(settings) as store,
    ):
        prover = Prover(Screen(), Verifier(encoder_pb2_grpc.EncoderServiceStub(encoder)))
        bounds = Bounds(settings.error_bound, settings.threshold, settings.error_bounds)
        cache = Cache(store, prover, bounds, settings.most_entries)
        kept = Kept(settings.ttl_s, settings.ttls, settings.most_ttl_s)
        service = CacheService(cache, kept, Insights(cache.now()))
        yield Service(
            name="tollway.cache.v1.CacheService",
            domain="cache.tollway",
            register=partial(cache_pb2_grpc.add_CacheServiceServicer_to_server, service),
            identity=identity,
            largest_message_bytes=32 << 20,
            backend=f"qdrant, {settings.store}" + (": a single replica" if settings.store.startswith("edge:") else ""),
        )


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    key = sha256(settings.encryption_key.encode()).digest() if settings.encryption_key else b""
    if settings.store.startswith("edge:"):
        folder = Path(settings.store.removeprefix("edge:"))
        with alone(folder):
            edge = EdgeStore(folder, key)
            edge.open()
            try:
                async with running(edge.run(), edge.learn()):
                    yield edge
            finally:
                edge.close()
        return
    # Half a second of models, which the engine in this process does without.
    from qdrant_client import AsyncQdrantClient

    from services.cache.qdrant import QdrantStore

    host, _, port = settings.store.partition("://")[2].rpartition(":")
    client = AsyncQdrantClient(
        host=host,
        grpc_port=int(port),
        prefer_grpc=True,
        https=settings.store.startswith("https"),
        api_key=settings.store_key or None,
    )
    store = QdrantStore(client, key=key)
    try:
        await store.open()
        yield store
    finally:
        await client.close()
