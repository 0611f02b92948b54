"""The services on the road, as stubs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tollway.cache.v1 import cache_pb2_grpc
from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.guard.v1 import guard_pb2_grpc
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.models.v1 import models_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2_grpc
from tollway.router.v1 import router_pb2_grpc

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


@asynccontextmanager
async def opened(targets: Mapping[str, str], tls: channels.Tls) -> AsyncIterator[Peers]:
    """Stubs over channels to `targets`, by service name; closed with the block."""
    async with AsyncExitStack() as stack:
        made = {name: await stack.enter_async_context(channels.open(target, tls)) for name, target in targets.items()}
        yield Peers(
            encoder=encoder_pb2_grpc.EncoderServiceStub(made["encoder"]),
            guard=guard_pb2_grpc.GuardServiceStub(made["guard"]),
            cache=cache_pb2_grpc.CacheServiceStub(made["cache"]),
            router=router_pb2_grpc.RouterServiceStub(made["router"]),
            retrieval=retrieval_pb2_grpc.RetrievalServiceStub(made["retrieval"]),
            ledger=ledger_pb2_grpc.LedgerServiceStub(made["ledger"]),
            models=models_pb2_grpc.ModelsServiceStub(made["models"]),
        )
