"""Builds the orchestrator from its settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger

from services.orchestrator import peers
from services.orchestrator.again import Again
from services.orchestrator.deferring import Deferring
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Epochs, Models, Registered
from services.orchestrator.failures import Dependencies
from services.orchestrator.mirroring import Mirroring
from services.orchestrator.prompting import Prompting
from services.orchestrator.recording import Recording
from services.orchestrator.road import Road, Waits
from services.orchestrator.service import GatewayService
from services.runtime.background import running
from services.runtime.identity import Directory, identified
from services.runtime.server import Service, Serving

CALLED = ("encoder", "guard", "cache", "router", "retrieval", "ledger", "models", "jobs", "registry", "tools")


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `orchestrator` of the file, `TOLLWAY_ORCHESTRATOR__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50057"))
    guard: str = "127.0.0.1:50051"
    encoder: str = "127.0.0.1:50052"
    cache: str = "127.0.0.1:50053"
    router: str = "127.0.0.1:50054"
    ledger: str = "127.0.0.1:50055"
    retrieval: str = "127.0.0.1:50056"
    models: str = "127.0.0.1:50058"
    jobs: str = "127.0.0.1:50059"
    """Takes over what its callers no longer wait for."""
    registry: str = "127.0.0.1:50060"
    """Makes prompts of templates."""
    tools: str = "127.0.0.1:50061"
    """Calls MCP servers."""
    key: str = field(default="", repr=False)
    """Own API key, an administrator's: settles what is still open when a caller's token has ended."""
    default_model: str = ""
    """What answers `auto` while the router is away; empty takes the first of the catalogue."""
    auto_names: tuple[str, ...] = ()
    """Other names that callers ask for `auto` by."""
    dependencies: Mapping[str, Dependencies] = field(default_factory=dict)
    """Failure policy by account; `*` for all without their own."""
    waits: Waits = field(default_factory=Waits)
    ask_again: float = 0.0
    """Share of the cache's semantic hits that a model is asked again beside the request, to tell the cache whether they were right."""
    context_tokens: Mapping[str, int] = field(default_factory=dict)
    """By account, `*` for all others: the tokens of a prompt past which its earlier turns are shortened."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the orchestrator owns, yields the service, closes in reverse order."""
    targets = {name: getattr(settings, name) for name in CALLED}
    async with (
        peers.opened(targets, settings.serve.tls) as stubs,
        identified(Directory(stubs.ledger, ledger)) as identity,
    ):
        models, epochs, desk = Models(stubs.models), Epochs(stubs.retrieval), Desk(settings.key)
        road = Road(
            stubs,
            models,
            epochs,
            desk,
            settings.dependencies,
            settings.default_model,
            settings.waits,
            settings.context_tokens,
            frozenset(settings.auto_names),
        )
        deferring, registered = Deferring(stubs.jobs, desk), Registered(stubs.registry, settings.key)
        mirroring, recording = Mirroring(road, registered, settings.key), Recording(road, registered)
        gateway = GatewayService(
            road, deferring, Prompting(road), mirroring, recording, Again(road, settings.ask_again)
        )
        try:
            async with running(models.follow(), registered.follow()):
                yield Service(
                    name="tollway.gateway.v1.GatewayService",
                    domain="gateway.tollway",
                    register=partial(gateway_pb2_grpc.add_GatewayServiceServicer_to_server, gateway),
                    identity=identity,
                    largest_message_bytes=64 << 20,
                    backend="the eight services of the road",
                    ready=lambda: models.read_once,
                )
        finally:
            await deferring.close()
            await desk.cleared()
            epochs.close()
            road.routed.close()
