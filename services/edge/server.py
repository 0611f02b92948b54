"""Serves the edge over HTTP with uvicorn, and lets the requests under way finish when told to stop."""

import asyncio
import contextlib
import logging
import os
import select
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop

from services.edge.application import Application
from services.runtime import memory
from services.runtime.background import running
from services.runtime.channels import PLAIN, Tls, local
from services.runtime.rotating import LOOKS_EVERY_S, stamps
from services.runtime.server import Process, told_to_stop
from services.runtime.settings import BadSettings, load

log = logging.getLogger(__name__)

BACKLOG = 2048
LARGEST_EVENT_BYTES = 24 << 20
"""Of a session over a web socket; OpenAI takes 15 MiB of sound at once."""
LAST_WORDS_S = 0.5
LOOKS = 5
"""Turns of the loop within which it reads from a connection that it has taken."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the edge listens, and how it stops."""

    address: str = "127.0.0.1:8080"
    """HOST:PORT, or `fd:N` for a socket that whoever started this process has opened: connections then wait for a restart."""
    tls: Tls = PLAIN
    """With an authority, callers must bear a certificate of it. Files that change are read again."""
    plain_text: bool = False
    """Allows plain text beyond this machine, where something else encrypts."""
    lame_duck_s: float = 1.0
    """Between saying that it is not ready and taking no more connections."""
    drain_s: float = 30.0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process hears its own signals; uvicorn must not take them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more connections, and lets those just taken say what they want before the idle ones are closed."""
        await _let_in(sockets or ())
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_WORDS_S)
        await _read()
        await super().shutdown(sockets)


async def _let_in(listeners: Iterable[socket.socket]) -> None:
    """Takes who stands before the door: a listener that closes sends them away, and the loop takes one of them a turn."""
    door = select.poll()
    for listener in listeners:
        door.register(listener, select.POLLIN)
    for _ in range(BACKLOG):
        if not door.poll(0):
            break
        await asyncio.sleep(0)
    await _read()


async def _read() -> None:
    """Lets the loop read what has arrived. After a stall its clocks go first, and would close what it has not looked at."""
    for _ in range(LOOKS):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(application: Application, where: Listening) -> AsyncIterator[str]:
    """Yields the URL served; on leaving, answers what is under way.

    Raises:
        OSError: the address is taken.
        ValueError: plain text beyond this machine, and no word that it is meant.
    """
    logging.getLogger("uvicorn.error").setLevel(
        logging.WARNING
    )  # it logs addresses of web sockets whole, with whatever is in a query
    listener = _inherited(where.address) if where.address.startswith("fd:") else _bound(where.address)
    host, port = listener.getsockname()[:2]
    if not (where.tls or where.plain_text or local(f"{host}:{port}")):
        listener.close()
        raise ValueError(f"{where.address} is open to the network: set listen.tls, or listen.plain_text to allow it")
    server = _Server(
        uvicorn.Config(
            application,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=LARGEST_EVENT_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=int(where.drain_s),
            ssl_certfile=where.tls.certificate or None,
            ssl_keyfile=where.tls.key or None,
            ssl_ca_certs=where.tls.authority or None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if where.tls.authority else ssl.CERT_NONE,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.up.wait()
    try:
        async with running(_rotation(server.config.ssl, where.tls)):
            yield f"{'https' if where.tls else 'http'}://{host}:{port}"
    finally:
        application.draining = True
        await asyncio.sleep(where.lame_duck_s)
        server.should_exit = True
        await task
        listener.close()


async def _rotation(context: ssl.SSLContext | None, tls: Tls) -> None:
    """New connections get the certificate that lies in the files now."""
    seen = stamps(tls.files)
    while context is not None:
        await asyncio.sleep(LOOKS_EVERY_S)
        if (now := stamps(tls.files)) == seen:
            continue
        try:
            context.load_cert_chain(tls.certificate, tls.key)
            if tls.authority:
                context.load_verify_locations(tls.authority)
        except (OSError, ssl.SSLError) as error:  # half of a rotation: the other half is on its way
            log.warning("the certificate could not be read again: %s", error)
        else:
            seen = now
            log.info("the certificate was rotated: %s", tls.certificate)


def _inherited(address: str) -> socket.socket:
    listener = socket.socket(fileno=int(address.removeprefix("fd:")))
    listener.setblocking(False)
    return listener


def _bound(address: str) -> socket.socket:
    host, _, number = address.rpartition(":")
    host, port = host.strip("[]"), int(number)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
    return listener


def main(settings: type[Any], app: Callable[[Any], AbstractAsyncContextManager[Application]]) -> None:
    """Serves the edge alone until it is told to stop."""
    try:
        with load(Process, os.environ, "process").observed("tollway-edge"):
            uvloop.run(_alone(app, load(settings, os.environ, "edge")))
    except BadSettings as fault:
        sys.exit(f"settings: {fault}")


async def _alone(app: Callable[[Any], AbstractAsyncContextManager[Application]], settings: Any) -> None:
    async with app(settings) as application, serving(application, settings.listen) as url:
        memory.settled()
        log.info("edge serves on %s", url)
        await told_to_stop()
