"""Builds the router from its settings."""

from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.models.v1 import models_pb2_grpc
from tollway.router.v1 import router_pb2_grpc

from services.router.catalogue import Catalogue
from services.router.common import Common
from services.router.decisions import Ids
from services.router.journal import Journal
from services.router.meaning import Meaning
from services.router.policies import Policies
from services.router.policy import Policy
from services.router.postgres import PostgresStore
from services.router.predictor import Predictor
from services.router.profiles import Profile
from services.router.service import RouterService
from services.runtime import channels, postgres
from services.runtime.background import running
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving

MIGRATIONS = Path(__file__).parent / "migrations"
CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `router` of the file, `TOLLWAY_ROUTER__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50054"))
    ledger: str = "127.0.0.1:50055"
    models: str = "127.0.0.1:50058"
    encoder: str = "127.0.0.1:50052"
    """Tells what texts mean, where routes ask for it."""
    key: str = field(default="", repr=False)
    """Own API key: the encoder is asked for vectors of routes' examples under it. Replicas with the same one know each other's decisions."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """By tenant; `*` for all without their own."""
    folder: str = ""
    """Of `TENANT.yaml` files and `default.yaml`, a policy each in place of those: read again as they change."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """What is known of models, by their names in the mesh."""
    journal: str = ""
    """A folder in which decisions are logged, without any text, for `Replay`; empty for none."""
    database_url: str = field(default="", repr=False)
    """Where replicas share which model a conversation is with, and what outcomes have taught; empty keeps both in memory, until the
    router ends."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the router owns, yields the service, closes in reverse order.

    Raises:
        BadSettings: of a policy or a route.
    """
    policies = Policies(settings.policies, settings.folder)
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as channel,
        channels.open(settings.models, settings.serve.tls, waits=True) as models,
        channels.open(settings.encoder, settings.serve.tls, waits=True) as encoder,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)) as identity,
    ):
        stubs = models_pb2_grpc.ModelsServiceStub(models), ledger_pb2_grpc.LedgerServiceStub(channel)
        catalogue = Catalogue(*stubs, settings.profiles)
        journal = Journal(Path(settings.journal)) if settings.journal else None
        meaning = Meaning(encoder_pb2_grpc.EncoderServiceStub(encoder), settings.key)
        common = Common()
        service = RouterService(catalogue, Predictor(), policies, journal, meaning, Ids(settings.key), common)
        works: list[Coroutine[Any, Any, None]] = [catalogue.follow(), policies.follow(meaning)]
        works += [journal.run()] if journal is not None else []
        works += [_sharing(common, settings.database_url)] if settings.database_url else []
        async with running(*works):
            yield Service(
                name="tollway.router.v1.RouterService",
                domain="router.tollway",
                register=partial(router_pb2_grpc.add_RouterServiceServicer_to_server, service),
                identity=identity,
                backend="learned on onnxruntime",
                ready=lambda: catalogue.read_once,
            )


async def _sharing(common: Common, url: str) -> None:
    """Requests are routed while the database is still waited for."""
    async with postgres.opened(url, "router", MIGRATIONS, CONNECTIONS) as pool:
        await common.share(PostgresStore(pool))
