"""Builds the ledger from its settings."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
from tollway.ledger.v1 import client_secrets_pb2_grpc, ledger_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.registry.v1 import registry_pb2_grpc

from services.ledger import counts, keys
from services.ledger.client_secrets import PostgresClientSecrets
from services.ledger.holds import Attempt
from services.ledger.lending import ClientSecretsService
from services.ledger.oidc import Issuer, Issuers
from services.ledger.people import PostgresPeople
from services.ledger.periods import Periods
from services.ledger.postgres import PostgresStore
from services.ledger.prices import Price, PriceBook
from services.ledger.replica import Replica, Times
from services.ledger.service import LedgerService
from services.ledger.store import ApiKey, Store
from services.ledger.trail import Trail
from services.runtime import channels, postgres
from services.runtime.background import running
from services.runtime.identity import Identity, named
from services.runtime.server import Service, Serving
from services.runtime.settings import BadSettings

MIGRATIONS = Path(__file__).parent / "migrations"
FEWEST_MONTHS = 3
SHORTEST_TOKEN_S, LONGEST_TOKEN_S = 60.0, 3600.0
SIGNING_KEY_LIFE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Strongest:
    """A model to compare with: its name in the mesh, or its provider and the provider's name for it. Empty for none."""

    model: str = ""
    provider: str = ""
    provider_model: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `ledger` of the file, `TOLLWAY_LEDGER__*` in the environment."""

    database_url: str = field(repr=False)
    database_connections: int = 8
    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50055"))
    hold_s: float = 180.0
    token_lifetime_s: float = 60.0
    """How long services believe a token without asking again, at most an hour: so long callers are known while the ledger is away.
    Revocations and suspensions are pushed meanwhile."""
    entries_kept_months: int = 0
    """Whole months that entries are kept beside the one that is, at least 3; 0 keeps them for good. Their sums stay."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Own prices by the model's name in the mesh, in dollars for a million tokens."""
    strongest: Strongest = field(default_factory=lambda: Strongest())
    """What it would cost to ask the strongest model alone: reports compare with it."""
    oidc: Mapping[str, Issuer] = field(default_factory=dict)
    """Who is trusted to say who people are, by the `iss` of their tokens."""
    registry: str = ""
    """Keeps the audit log: administrative calls are written there before they are made. Empty writes none."""
    admin_key: str = field(default="", repr=False)
    """A key that may administer, made at the start when it is new. Empty for none."""
    admin_account: str = "operator"


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the ledger owns, yields the service, closes in reverse order.

    Raises:
        BadSettings
    """
    if settings.entries_kept_months and settings.entries_kept_months < FEWEST_MONTHS:
        raise BadSettings(
            f"ledger.entries_kept_months: 0, or at least {FEWEST_MONTHS}: budgets of a month look back that far"
        )
    if not SHORTEST_TOKEN_S <= settings.token_lifetime_s <= LONGEST_TOKEN_S:
        raise BadSettings(f"ledger.token_lifetime_s: from {SHORTEST_TOKEN_S:.0f} to {LONGEST_TOKEN_S:.0f}")
    async with (
        _registry(settings) as registry,
        postgres.opened(settings.database_url, "ledger", MIGRATIONS, settings.database_connections) as pool,
    ):
        store = PostgresStore(pool)
        signer = keys.Signer(lifetime=timedelta(seconds=settings.token_lifetime_s))
        now = datetime.now(UTC)
        await store.publish_signing_key(signer.key_id, signer.public, now + SIGNING_KEY_LIFE)
        await _bootstrap(store, settings, now)
        replica = Replica(store, Times(hold_s=settings.hold_s))
        await replica.load()
        secret = await store.shared_secret("holds", secrets.token_bytes(32))
        client_secrets = PostgresClientSecrets(pool)
        service = LedgerService(
            store,
            replica,
            signer,
            PriceBook(settings.prices),
            secret,
            PostgresPeople(pool),
            Issuers(settings.oidc),
            client_secrets,
            _strongest(settings.strongest),
        )
        lending = ClientSecretsService(
            client_secrets, await store.shared_secret("client secrets", secrets.token_bytes(32))
        )
        counts.publish(replica)
        try:
            async with running(
                replica.run(),
                service.guardian.run(),
                lending.run(),
                Periods(pool, settings.entries_kept_months).run(),
            ):
                yield Service(
                    name="tollway.ledger.v1.LedgerService",
                    domain="ledger.tollway",
                    register=partial(register, service, lending),
                    identity=identity_of(service),
                    audit=Trail(registry, store) if registry is not None else None,
                    backend="postgresql",
                )
        finally:
            async with asyncio.timeout(10):
                await replica.close()


def register(ledger: LedgerService, lending: ClientSecretsService, server: grpc.aio.Server) -> None:
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, server)
    client_secrets_pb2_grpc.add_ClientSecretsServiceServicer_to_server(lending, server)


@asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[registry_pb2_grpc.RegistryServiceStub | None]:
    if not settings.registry:
        yield None
        return
    async with channels.open(settings.registry, settings.serve.tls, waits=True) as channel:
        yield registry_pb2_grpc.RegistryServiceStub(channel)


def identity_of(service: LedgerService) -> Identity:
    """The ledger knows its callers by its own books."""

    async def exchange(credential: str) -> str:
        return (await service.Authenticate(pb.AuthenticateRequest(**named(credential)), None)).token

    async def public() -> dict[str, bytes]:
        return await service.store.signing_keys(datetime.now(UTC))

    return Identity(exchange, public)


def _strongest(said: Strongest) -> Attempt | None:
    if not (said.model or said.provider_model):
        return None
    return Attempt(said.model or said.provider_model, said.provider, said.provider_model or said.model)


async def _bootstrap(store: Store, settings: Settings, now: datetime) -> None:
    if settings.admin_key:
        hashed = keys.digest(settings.admin_key)
        key = ApiKey(f"key_{hashed.hex()[:16]}", settings.admin_account, "bootstrap", hashed, True, (), now)
        await store.add_key(key, f"bootstrap-{hashed.hex()}")
