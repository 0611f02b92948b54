"""Builds the tools service from its settings."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.tools.v1 import tools_pb2_grpc

from services.runtime import channels, metrics
from services.runtime.background import running
from services.runtime.http import session
from services.runtime.identity import Directory, identified
from services.runtime.secrets import Secrets
from services.runtime.server import Service, Serving
from services.tools.catalogue import Server, checked
from services.tools.oauth import Tokens
from services.tools.servers import Served
from services.tools.service import ToolsService
from services.tools.speaking import Speaking
from services.tools.wires.http import Http
from services.tools.wires.pipe import Pipe
from services.tools.wires.wire import Wire


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `tools` of the file, `TOLLWAY_TOOLS__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50061"))
    ledger: str = "127.0.0.1:50055"
    servers: Mapping[str, Server] = field(default_factory=dict)
    """MCP servers, by their names in the mesh."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the service owns, yields it, closes in reverse order.

    Raises:
        BadSettings: a server that cannot be meant so.
    """
    servers = checked(settings.servers)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(session())
        channel = await stack.enter_async_context(channels.open(settings.ledger, settings.serve.tls, waits=True))
        secrets, served = Secrets(http), dict[str, Served]()
        for name, one in servers.items():
            wire = _wire(name, one, http, secrets)
            stack.push_async_callback(wire.close)
            served[name] = Served(name, one, Speaking(name, wire))
        metrics.gauge("tollway.tools.available", "1", "Whether an MCP server tells its tools.", partial(_fare, served))
        directory = Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)
        identity = await stack.enter_async_context(identified(directory))
        await stack.enter_async_context(running(*(one.follow() for one in served.values())))
        yield Service(
            name="tollway.tools.v1.ToolsService",
            domain="tools.tollway",
            register=partial(tools_pb2_grpc.add_ToolsServiceServicer_to_server, ToolsService(served)),
            identity=identity,
            largest_message_bytes=32 << 20,
            backend=", ".join(served) or "no MCP server: name one with --mcp or in the settings",
        )


def _wire(name: str, one: Server, http: aiohttp.ClientSession, secrets: Secrets) -> Wire:
    if one.url:
        tokens = Tokens(name, one.url, one.oauth, http, secrets) if one.oauth.client_id else None
        return Http(name, one.url, http, secrets, one.key, one.headers, tokens)
    return Pipe(name, one.command, secrets, one.environment, one.folder)


def _fare(served: Mapping[str, Served]) -> Iterator[tuple[float, Mapping[str, str]]]:
    for name, one in served.items():
        yield float(not one.reason), {"server": name}
