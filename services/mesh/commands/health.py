"""`tollway health`: asks one service how it is, in the words of grpc_health_probe; for health checks of containers."""

import asyncio
import os
import urllib.error
import urllib.request
from typing import Annotated, Any

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh.ledgers import client_certificate
from services.mesh.screen import fail, say
from services.runtime import channels

WITHIN_S = 5.0


def health(
    target: Annotated[str, typer.Argument(help="HOST:PORT, unix:PATH, dns:///NAME:PORT, or the URL of the edge.")],
    service: Annotated[str, typer.Option(help="Its full name; the whole server without one.")] = "",
) -> None:
    """Exits with 0 when the service serves, with 1 and the reason when it does not."""
    said = _http(target) if target.startswith(("http://", "https://")) else asyncio.run(_grpc(target, service))
    if said != "SERVING":
        fail(f"{target}: {said}")
    say(said)


def _http(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
            return "SERVING" if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return str(error)


async def _grpc(target: str, service: str) -> str:
    async with channels.open(target, client_certificate(os.environ)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            said = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(said.status))
