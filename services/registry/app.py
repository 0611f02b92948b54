"""Builds the registry from its settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tollway.cache.v1 import cache_pb2_grpc
from tollway.jobs.v1 import jobs_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.registry.v1 import registry_pb2_grpc
from tollway.router.v1 import router_pb2_grpc

from services.registry.comparisons import Comparisons
from services.registry.erasing import Erasing
from services.registry.evaluating import Evaluating
from services.registry.outcomes import Outcomes
from services.registry.postgres import PostgresStore
from services.registry.probes import Probes
from services.registry.probing import Probing
from services.registry.promoting import Approvals, Promoting
from services.registry.records import Records
from services.registry.reviewing import Policy, Reviewing
from services.registry.runs import Runs
from services.registry.service import RegistryService
from services.registry.shadowing import Shadowing
from services.registry.shelf import Shelf
from services.runtime import channels, postgres
from services.runtime.background import running
from services.runtime.identity import Acting, Directory, identified
from services.runtime.server import Service, Serving

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `registry` of the file, `TOLLWAY_REGISTRY__*` in the environment."""

    database_url: str = field(repr=False)
    database_connections: int = 4
    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50060"))
    ledger: str = "127.0.0.1:50055"
    jobs: str = "127.0.0.1:50059"
    """Asks the candidates of shadows."""
    cache: str = "127.0.0.1:50053"
    router: str = "127.0.0.1:50054"
    """Both learn from what people make of answers."""
    key: str = field(default="", repr=False)
    """Own API key, an administrator's: exchanged for tokens that are bound to the keys that began shadows."""
    records: Mapping[str, Policy] = field(default_factory=dict)
    """By tenant, `*` for all others: which requests are kept, and which answers a person looks at."""
    approvals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By tenant, `*` for all others: how many other people approve a version before a label may point at it."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the registry owns, yields the service, closes in reverse order."""
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as directory,
        channels.open(settings.jobs, settings.serve.tls, waits=True) as slow,
        channels.open(settings.cache, settings.serve.tls, waits=True) as cache,
        channels.open(settings.router, settings.serve.tls, waits=True) as router,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(directory), ledger)) as identity,
        postgres.opened(settings.database_url, "registry", MIGRATIONS, settings.database_connections) as pool,
    ):
        store, comparisons, approvals = PostgresStore(pool), Comparisons(pool), Approvals(settings.approvals)
        acting = Acting(Directory(ledger_pb2_grpc.LedgerServiceStub(directory), ledger), settings.key)
        outcomes, promoting = Outcomes(store), Promoting(store, comparisons, approvals)
        shadowing = Shadowing(comparisons, jobs_pb2_grpc.JobsServiceStub(slow), acting, promoting)
        shelf = Shelf(store)
        evaluating = Evaluating(Runs(pool), shelf, shadowing.jobs, acting)
        learners = cache_pb2_grpc.CacheServiceStub(cache), router_pb2_grpc.RouterServiceStub(router)
        reviewing = Reviewing(Records(pool), store, *learners, settings.records)
        probing = Probing(Probes(pool), shelf, shadowing.jobs, ledger_pb2_grpc.LedgerServiceStub(directory), acting)
        service = RegistryService(
            store, shelf, outcomes, approvals, shadowing, evaluating, reviewing, probing, Erasing(pool)
        )
        try:
            async with running(outcomes.run(), shadowing.run(), evaluating.run(), reviewing.run(), probing.run()):
                yield Service(
                    name="tollway.registry.v1.RegistryService",
                    domain="registry.tollway",
                    register=partial(registry_pb2_grpc.add_RegistryServiceServicer_to_server, service),
                    identity=identity,
                    largest_message_bytes=32 << 20,
                    backend="postgresql",
                )
        finally:
            await outcomes.flush()
