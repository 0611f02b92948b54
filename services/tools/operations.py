"""Calls of tools as OpenTelemetry's conventions for MCP have them: a span each, and how long they take."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from yarl import URL

from services.runtime import telemetry
from services.runtime.errors import Failure
from services.runtime.metrics import Distribution
from services.tools.catalogue import Server

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
DURATION = Distribution(
    "mcp.client.operation.duration", "s", "Duration of an MCP request, as its sender sees it.", SECONDS,
    ("mcp.method.name", "gen_ai.tool.name", "server.address", "server.port", "error.type"),
)  # fmt: skip
METHOD, EXECUTE = "tools/call", "execute_tool"
TOOL_FAILED = "tool_error"
"""The conventions' word for a result that says that it failed."""
UNKNOWN = "_OTHER"


@dataclass(slots=True)
class Operation:
    failed: bool = False

    def answered(self, failed: bool) -> None:
        self.failed = failed


@contextmanager
def operation(server: Server, tool: str, method: str = METHOD) -> Iterator[Operation]:
    """Measures a call, or another request of `method`, for as long as the block lasts. What its caller gives up is of type `cancelled`."""
    address, port = _address(server)
    span = telemetry.child(f"{method} {tool}".strip())
    if span is not None:
        said: dict[str, Any] = {"mcp.method.name": method, "network.transport": "tcp" if server.url else "pipe"}
        if tool:
            said |= {"gen_ai.operation.name": EXECUTE, "gen_ai.tool.name": tool}
        if address:
            said |= {"server.address": address, "server.port": int(port)}
        span.set_attributes(said)
    made, began, error = Operation(), time.perf_counter(), UNKNOWN
    try:
        yield made
        error = TOOL_FAILED if made.failed else ""
    except Failure as failure:
        error = failure.reason
        raise
    except (asyncio.CancelledError, GeneratorExit):
        error = "cancelled"
        raise
    finally:
        DURATION.add(time.perf_counter() - began, method, tool, address, port, error, trace=telemetry.ids(span))
        if span is not None:
            if error:
                telemetry.failed(span, error)
            span.end()


def _address(server: Server) -> tuple[str, str]:
    if not server.url:
        return "", ""
    url = URL(server.url)
    return url.host or "", str(url.port or "")
