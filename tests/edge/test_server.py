"""A server that stops looks first at what has arrived."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
import uvloop

from services.edge.server import _bound, _Server


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_has_come_is_answered_though_the_loop_stood_still(run: Callable[[Any], None]) -> None:
    run(stopped(callers=200))


async def stopped(callers: int) -> None:
    """Stops a server before whose door so many stand."""
    listener = _bound("127.0.0.1:0")
    server = _Server(uvicorn.Config(application, http="httptools", lifespan="off", log_config=None))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup([listener])
    standing = [socket.create_connection(listener.getsockname(), timeout=5) for _ in range(callers)]
    for caller in standing:  # nothing is awaited: the loop has seen none of them
        caller.sendall(b"GET / HTTP/1.1\r\nhost: edge\r\n\r\n")
    await server.shutdown([listener])
    for caller in standing:
        with caller:
            assert caller.recv(1000).startswith(b"HTTP/1.1 200")
