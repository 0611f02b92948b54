"""Builds the registry from its settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.registry.v1 import registry_pb2_grpc

from services.registry.outcomes import Outcomes
from services.registry.postgres import PostgresStore
from services.registry.service import RegistryService
from services.registry.shelf import Shelf
from services.runtime import channels, postgres
from services.runtime.background import running
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `registry` of the file, `TOLLWAY_REGISTRY__*` in the environment."""

    database_url: str = field(repr=False)
    database_connections: int = 4
    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50060"))
    ledger: str = "127.0.0.1:50055"
    approvals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By tenant, `*` for all others: how many other people approve a version before a label may point at it."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the registry owns, yields the service, closes in reverse order."""
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as directory,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(directory), ledger)) as identity,
        postgres.opened(settings.database_url, "registry", MIGRATIONS, settings.database_connections) as pool,
    ):
        store = PostgresStore(pool)
        outcomes = Outcomes(store)
        service = RegistryService(store, Shelf(store), outcomes, settings.approvals)
        try:
            async with running(outcomes.run()):
                yield Service(
                    name="tollway.registry.v1.RegistryService",
                    domain="registry.tollway",
                    register=partial(registry_pb2_grpc.add_RegistryServiceServicer_to_server, service),
                    identity=identity,
                    backend="postgresql",
                )
        finally:
            await outcomes.flush()
