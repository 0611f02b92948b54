"""How the services on the road fare, and the models: asked now, each for a moment."""

import asyncio
import time
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator.peers import Peers

WITHIN_S = 2.0


async def standing(peers: Peers) -> pb.GetStatusResponse:
    """Each service by its own word, those that are away included."""
    names = sorted(peers.channels)
    found, models = await asyncio.gather(
        asyncio.gather(*(_service(name, peers.channels[name]) for name in names)), _models(peers)
    )
    return pb.GetStatusResponse(services=found, models=models)


async def _service(name: str, channel: grpc.aio.Channel) -> pb.ServiceStatus:
    began = time.perf_counter()
    stub: Any = health_pb2_grpc.HealthStub(channel)
    made = pb.ServiceStatus(name=name)
    try:
        said = await stub.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S, wait_for_ready=False)
    except grpc.aio.AioRpcError as error:
        made.why = error.code().name
    else:
        made.serving = said.status == health_pb2.HealthCheckResponse.SERVING
        made.why = "" if made.serving else health_pb2.HealthCheckResponse.ServingStatus.Name(said.status)
    made.took.FromNanoseconds(int((time.perf_counter() - began) * 1e9))
    return made


async def _models(peers: Peers) -> list[models_pb2.Health]:
    """The first thing that the models service tells those who watch."""
    call = peers.models.Watch(models_pb2.WatchRequest(), timeout=WITHIN_S)
    try:
        async for told in call:
            return sorted(told.models, key=lambda one: one.model)
    except grpc.aio.AioRpcError:
        return []
    finally:
        call.cancel()
    return []
