"""Serves a service, and lets the calls under way finish when it is told to stop."""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime import memory
from services.runtime.access import Audit
from services.runtime.background import running
from services.runtime.channels import PLAIN, Tls, local
from services.runtime.folders import FolderTaken
from services.runtime.identity import Identity
from services.runtime.inproc.server import InprocServer
from services.runtime.logs import logged
from services.runtime.settings import BadSettings, load
from services.runtime.status import Statuses
from services.runtime.telemetry import installed

log = logging.getLogger(__name__)

READY_EVERY_S = 0.2
PASSING_S, LOOKS_EVERY_S = 15.0, 0.2
"""How long a connection of somebody's may sit on an address that is to be bound."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a service hands to the runtime: its proto name, its error domain, how to register it."""

    name: str
    domain: str
    register: Callable[[Any], None]
    identity: Identity | None = field(default=None, repr=False)
    """How callers are known; None serves everybody."""
    audit: Audit | None = field(default=None, repr=False)
    """Where administrative calls are written down; None for nowhere."""
    largest_message_bytes: int = 4 << 20
    """gRPC's own default. A service that takes images or batches asks for more, or streams."""
    backend: str = ""
    """What it stands on, for the line at start-up."""
    ready: Callable[[], bool] = field(default=lambda: True, repr=False)
    beside: tuple[str, ...] = ()
    """Other proto services that it registers."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a service listens, and how it stops. Every service's settings hold one as `serve`."""

    address: str
    tls: Tls = PLAIN
    plain_text: bool = False
    """Allows plain text beyond this machine, where something else encrypts."""
    lame_duck_s: float = 1.0
    drain_s: float = 20.0
    shared: bool = False
    """Other processes serve on the same address; the system shares connections out among them."""

    @property
    def longest_lame_s(self) -> float:
        """A caller that has not seen the drain yet is waited for; one that heeds no health is not waited for without end."""
        return LONGEST_LAME * self.lame_duck_s


LONGEST_LAME = 4
"""Times `lame_duck_s`, while calls go on coming in."""

MOST_PENDING = 20_000
"""Calls that have arrived and not begun. Of more than 1,000, which is gRPC's default, it cancels some by chance, and their
callers are told CANCELLED; ours wait within their deadlines."""


@asynccontextmanager
async def serving(
    service: Service, where: Serving, inproc: str = "", leaving: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """Yields the address served; on leaving, answers what is under way before it stops.

    `grpc.aio` cancels calls that have arrived but not begun when it stops (grpc/grpc#41785). So the
    server first says NOT_SERVING and goes on serving until no call has come in for `lame_duck_s`, while
    callers turn elsewhere, at most for `longest_lame_s`.
    With `inproc` the service is served in this process under that name, too. Once `leaving` is set its time
    as a lame duck has begun: of many that stop one after the other, nobody waits for each.

    Raises:
        RuntimeError: the address is taken, and stays so. Two servers share one where both say so, never in silence.
        ValueError: plain text beyond this machine, and no word that it is meant.
    """
    statuses = Statuses(service.domain, service.identity, service.audit)
    options = [
        ("grpc.so_reuseport", int(where.shared)),
        ("grpc.max_receive_message_length", service.largest_message_bytes),
        ("grpc.max_send_message_length", service.largest_message_bytes),
        ("grpc.server.max_pending_requests", MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", MOST_PENDING),
    ]
    server = grpc.aio.server(interceptors=[statuses], options=options)
    service.register(server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    names = (service.name, *service.beside, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    address = await _bound(server, where)
    within = InprocServer(inproc, statuses.wrap) if inproc else None
    if within is not None:
        service.register(within)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, cast(grpc.aio.Server, within))
        within.start()
    await server.start()
    leaving = leaving or asyncio.Event()
    lame = asyncio.create_task(_lame(leaving, healthy, statuses, where))
    try:
        async with running(_readiness(service, healthy)):
            yield address
    finally:
        leaving.set()
        await lame
        statuses.leave()
        await server.stop(where.drain_s)
        if within is not None:
            await within.stop(where.drain_s)


async def _lame(leaving: asyncio.Event, healthy: health.aio.HealthServicer, statuses: Statuses, where: Serving) -> None:
    await leaving.wait()
    await healthy.enter_graceful_shutdown()
    now = time.monotonic()
    quiet, last = now + where.lame_duck_s, now + where.longest_lame_s
    while now < (until := min(quiet, last)):
        await asyncio.sleep(until - now)
        now, quiet = time.monotonic(), statuses.arrived + where.lame_duck_s


async def _readiness(service: Service, healthy: health.aio.HealthServicer) -> None:
    """Says SERVING while the service is ready, as it changes. Liveness is the port itself."""
    said: bool | None = None
    while True:
        if (ready := service.ready()) is not said:
            said = ready
            answers = health_pb2.HealthCheckResponse
            for name in ("", service.name):
                await healthy.set(name, answers.SERVING if ready else answers.NOT_SERVING)
        await asyncio.sleep(READY_EVERY_S)


async def _bound(server: grpc.aio.Server, where: Serving) -> str:
    """The address, once it is bound.

    Ports from 32768 on are Linux's own for connections that go out: one of them may sit on ours for a moment, which nobody
    who listens there does.
    """
    until = time.monotonic() + PASSING_S
    while True:
        try:
            return _bind(server, where)
        except RuntimeError:
            if time.monotonic() > until or where.address.startswith("unix:") or not await _passes(where.address):
                raise
            await asyncio.sleep(LOOKS_EVERY_S)


def _bind(server: grpc.aio.Server, where: Serving) -> str:
    if where.tls:
        port = server.add_secure_port(where.address, _credentials(where.tls))
    elif local(where.address) or where.plain_text:
        port = server.add_insecure_port(where.address)
    else:
        raise ValueError(f"{where.address} is open to the network: set serve.tls, or serve.plain_text to allow it")
    return where.address if where.address.startswith("unix:") else f"{where.address.rpartition(':')[0]}:{port}"


async def _passes(address: str) -> bool:
    """Whether what sits on the address ends by itself: it is in use, and nobody listens."""
    name, _, number = address.rpartition(":")
    host, port = name.strip("[]"), int(number)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return False
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return True
    writer.close()
    return False


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Reads the files again at each handshake, so that a rotated certificate needs no restart."""

    def read() -> grpc.ServerCertificateConfiguration:
        pair = (Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes())
        authority = Path(tls.authority).read_bytes() if tls.authority else None
        return grpc.ssl_server_certificate_configuration([pair], authority)

    return grpc.dynamic_ssl_server_credentials(read(), read, bool(tls.authority))


async def told_to_stop() -> None:
    """Waits for SIGTERM or SIGINT. A process calls it once, however many services it serves."""
    told = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, told.set)
    await told.wait()


def main(name: str, settings: type[Any], app: Callable[[Any], AbstractAsyncContextManager[Service]]) -> None:
    """Serves one service alone until it is told to stop: the body of every `__main__`."""
    try:
        with load(Process, os.environ, "process").observed(f"tollway-{name}"):
            uvloop.run(_alone(app, load(settings, os.environ, name)))
    except BadSettings as fault:
        sys.exit(f"settings: {fault}")
    except FolderTaken as fault:
        sys.exit(str(fault))


@dataclass(frozen=True, slots=True)
class Process:
    """Section `process`: what every process has, whichever services it runs."""

    log_level: str = "INFO"
    log_lines: str = "json"
    """`json` or `plain`."""
    otlp_endpoint: str = ""
    """OTLP over gRPC, for instance http://collector:4317. Empty sends nothing."""
    metrics_address: str = ""
    """HOST:PORT where Prometheus may get `/metrics`. Empty serves none."""

    @contextmanager
    def observed(self, service: str) -> Iterator[None]:
        """Logs, traces and metrics of this process for as long as the block lasts.

        Raises:
            BadSettings: nothing can be served at `metrics_address`.
        """
        with (
            logged(self.log_level, self.log_lines, self.otlp_endpoint, service),
            ExitStack() as stack,
        ):
            readers = []
            if self.metrics_address:
                from services.runtime.scraping import served  # nobody else pays for its import

                readers.append(stack.enter_context(served(self.metrics_address)))
            stack.enter_context(installed(self.otlp_endpoint, service, readers))
            yield


async def _alone(app: Callable[[Any], AbstractAsyncContextManager[Service]], settings: Any) -> None:
    async with app(settings) as service, serving(service, settings.serve) as address:
        memory.settled()
        log.info("%s serves on %s, backend %s", service.name, address, service.backend or "none")
        await told_to_stop()
