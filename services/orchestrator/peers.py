"""The services on the road, and beside it, as stubs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
from tollway.cache.v1 import cache_pb2_grpc
from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.guard.v1 import guard_pb2_grpc
from tollway.jobs.v1 import jobs_pb2_grpc
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.models.v1 import models_pb2_grpc
from tollway.registry.v1 import registry_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2_grpc
from tollway.router.v1 import router_pb2_grpc
from tollway.tools.v1 import tools_pb2_grpc

from services.runtime import channels


@dataclass(frozen=True, slots=True)
class Peers:
    encoder: encoder_pb2_grpc.EncoderServiceStub
    guard: guard_pb2_grpc.GuardServiceStub
    cache: cache_pb2_grpc.CacheServiceStub
    router: router_pb2_grpc.RouterServiceStub
    retrieval: retrieval_pb2_grpc.RetrievalServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    models: models_pb2_grpc.ModelsServiceStub
    jobs: jobs_pb2_grpc.JobsServiceStub
    registry: registry_pb2_grpc.RegistryServiceStub
    tools: tools_pb2_grpc.ToolsServiceStub
    channels: Mapping[str, grpc.aio.Channel] = field(default_factory=dict)

    async def reach(self, name: str, within_s: float) -> None:
        """Waits for a service that is being started again.

        Raises:
            grpc.aio.AioRpcError: UNAVAILABLE, when it does not come back in time.
        """
        channel = self.channels.get(name)
        if channel is not None and not await channels.reached(channel, within_s):
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, f"the {name} service is away")


@asynccontextmanager
async def opened(targets: Mapping[str, str], tls: channels.Tls) -> AsyncIterator[Peers]:
    """Stubs over channels to `targets`, by service name; closed with the block."""
    async with AsyncExitStack() as stack:
        made = {
            name: await stack.enter_async_context(channels.open(target, tls, waits=True))
            for name, target in targets.items()
        }
        yield Peers(
            encoder=encoder_pb2_grpc.EncoderServiceStub(made["encoder"]),
            guard=guard_pb2_grpc.GuardServiceStub(made["guard"]),
            cache=cache_pb2_grpc.CacheServiceStub(made["cache"]),
            router=router_pb2_grpc.RouterServiceStub(made["router"]),
            retrieval=retrieval_pb2_grpc.RetrievalServiceStub(made["retrieval"]),
            ledger=ledger_pb2_grpc.LedgerServiceStub(made["ledger"]),
            models=models_pb2_grpc.ModelsServiceStub(made["models"]),
            jobs=jobs_pb2_grpc.JobsServiceStub(made["jobs"]),
            registry=registry_pb2_grpc.RegistryServiceStub(made["registry"]),
            tools=tools_pb2_grpc.ToolsServiceStub(made["tools"]),
            channels=made,
        )
