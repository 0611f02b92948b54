"""Builds jobs from its settings: the service, and the worker in the same process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import grpc
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.jobs.v1 import conversations_pb2_grpc, jobs_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc

from services.jobs.alerts import Alerts, Hooks
from services.jobs.calling import Calling
from services.jobs.conversations import Conversations
from services.jobs.conversing import ConversationsService
from services.jobs.files import Files
from services.jobs.gauges import Gauges
from services.jobs.postgres import PostgresStore
from services.jobs.relay import Relay
from services.jobs.service import JobsService
from services.jobs.store import TICKETS
from services.jobs.sweeping import sweeping
from services.jobs.webhooks import Egress, Webhooks
from services.jobs.worker import Worker
from services.runtime import channels, postgres
from services.runtime.background import running
from services.runtime.brokers import Broker, BrokerAway, opened
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving

MIGRATIONS = Path(__file__).parent / "migrations"
WORKERS = "tollway-workers"
DRAIN_S = 20.0
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `jobs` of the file, `TOLLWAY_JOBS__*` in the environment."""

    database_url: str = field(repr=False)
    database_connections: int = 8
    broker: str = field(default="nats://127.0.0.1:4222", repr=False)
    """`nats://`, `amqp://` or `kafka://HOST:PORT,HOST:PORT`; a password may stand in it."""
    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50059"))
    orchestrator: str = "127.0.0.1:50057"
    ledger: str = "127.0.0.1:50055"
    key: str = field(default="", repr=False)
    """Own API key, an administrator's: exchanged for tokens that are bound to the keys that handed jobs in."""
    webhook_key: str = field(default="", repr=False)
    """What the tenants' webhook secrets are made of."""
    egress: Egress = field(default_factory=Egress)
    """Where webhooks may go."""
    slots: int = 64
    """Jobs at once in this process; 0 takes jobs in and works through none."""
    per_tenant: int = 32
    """Jobs of one tenant at once, over all processes."""
    lease_s: float = 30.0
    """How long a job is left alone whose worker was killed."""
    most_waiting: int = 1_000_000
    """Jobs of one tenant that may wait."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what jobs owns, yields the service, closes in reverse order."""
    tls = settings.serve.tls
    async with (
        channels.open(settings.ledger, tls, waits=True) as directory,
        channels.open(settings.orchestrator, tls, waits=True) as gateway,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(directory), ledger)) as identity,
        postgres.opened(settings.database_url, "jobs", MIGRATIONS, settings.database_connections) as pool,
    ):
        store, broker = PostgresStore(pool), opened(settings.broker)
        relay, webhooks = Relay(store, broker), Webhooks(store, settings.egress, settings.webhook_key)
        books = ledger_pb2_grpc.LedgerServiceStub(directory)
        calling = Calling(gateway_pb2_grpc.GatewayServiceStub(gateway), books, settings.key)
        alerts = Alerts(pool, books, settings.key, relay.wake.set)
        lease = timedelta(seconds=settings.lease_s)
        worker = Worker(store, calling, settings.slots, settings.per_tenant, lease, noted=relay.wake.set)
        broker.consume(TICKETS, WORKERS, worker.ticket)
        files, conversations = Files(pool), Conversations(pool)
        service = JobsService(
            store, webhooks.secret, relay.wake.set, settings.most_waiting, files, lease, Hooks(pool), conversations
        )
        try:
            async with running(
                carried(broker, relay), worker.run(), webhooks.run(), Gauges(store).run(), alerts.run(),
                sweeping(files.sweep, conversations.sweep),
            ):  # fmt: skip
                yield Service(
                    name="tollway.jobs.v1.JobsService",
                    domain="jobs.tollway",
                    register=partial(register, service, ConversationsService(conversations)),
                    beside=("tollway.jobs.v1.ConversationsService",),
                    identity=identity,
                    largest_message_bytes=256 << 20,
                    backend=f"postgresql, {settings.broker.partition('://')[0]}",
                )
                await worker.drain(DRAIN_S)
        finally:
            await broker.close()


def register(jobs: JobsService, conversations: ConversationsService, server: grpc.aio.Server) -> None:
    jobs_pb2_grpc.add_JobsServiceServicer_to_server(jobs, server)
    conversations_pb2_grpc.add_ConversationsServiceServicer_to_server(conversations, server)


async def carried(broker: Broker, relay: Relay) -> None:
    """Connects to the broker, however long it takes, and sends what is to be sent. Workers go on without it, more slowly."""
    while True:
        try:
            await broker.start()
            break
        except BrokerAway:
            await asyncio.sleep(AGAIN_S)
    await relay.run()
