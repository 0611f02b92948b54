"""What stands between an agent and an MCP server: calls of a tool that answers at once, straight and through gateways.

Tollway holds the arguments against the tool's schema, searches them and the result for private data and attacks, reserves
and settles on each call. LiteLLM, where it is installed (`make bench-peers`), passes calls on.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

from benchmarks import load, processes, report
from benchmarks.gateway_load import PEERS, Gateway, litellm_running, tollway_running

SERVER_PORT, PORT = 18998, 18280
URL = f"http://127.0.0.1:{SERVER_PORT}/mcp"
ACCEPT = "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n"
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TEXTS = (
    "the toll on lorries is nine crowns",
    "three pilots wait for the tide",
    "Write to ada@example.com about the lease",
)


async def answered(request: web.Request) -> web.Response:
    """A server that says what it is told, in the least time."""
    asked = orjson.loads(await request.read())
    if "id" not in asked:
        return web.Response(status=202)
    match asked["method"]:
        case "initialize":
            told: Any = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "b", "version": "1"},
            }
        case "tools/list":
            told = {"tools": [{"name": "echo", "description": "Says what it is told.", "inputSchema": SCHEMA}]}
        case "tools/call":
            told = {"content": [{"type": "text", "text": asked["params"]["arguments"]["text"]}]}
        case _:
            error = {"code": -32601, "message": "no such method"}
            return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": error}, status=400)
    return web.Response(
        body=orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), content_type="application/json"
    )


def serve() -> None:
    application = web.Application()
    application.router.add_post("/mcp", answered)
    web.run_app(application, host="127.0.0.1", port=SERVER_PORT, print=None, loop=uvloop.new_event_loop())


@contextlib.contextmanager
def straight(server: int, folder: Path) -> Iterator[Gateway]:
    yield Gateway(server, SERVER_PORT, "none", "echo")


@contextlib.contextmanager
def tollway(folder: Path) -> Iterator[Gateway]:
    prices = {"TOLLWAY_LEDGER__PRICES": '{tools/box: {call: "0.0001"}}'}
    with tollway_running(folder, PORT, prices, f"--mcp=box={URL}") as one:
        yield replace(one, model="box__echo")


@contextlib.contextmanager
def litellm(folder: Path) -> Iterator[Gateway]:
    settings = {"model_list": [], "mcp_servers": {"box": {"url": URL, "transport": "http"}}}
    with litellm_running(folder, PORT + 1, settings) as one:
        yield replace(one, model="box-echo")


def asked(tool: str, text: str, number: int) -> bytes:
    params = {"name": tool, "arguments": {"text": text}}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()


def requests(gateway: Gateway, number: int) -> list[bytes]:
    bodies = (asked(gateway.model, f"{TEXTS[n % len(TEXTS)]}, {n}", n) for n in range(number))
    return [load.post(gateway.port, "/mcp", body, gateway.key, ACCEPT) for body in bodies]


def check(gateway: Gateway) -> None:
    """
    Raises:
        AssertionError: what comes back is not what the tool says.
    """
    accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    headers = {**accept, "authorization": f"Bearer {gateway.key}"}
    body = asked(gateway.model, TEXTS[0], 1)
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.port}/mcp", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        said = response.read().decode()
    assert TEXTS[0] in said and '"isError":true' not in said, said


async def measured(gateway: Gateway, connections: int, seconds: float) -> dict[str, float]:
    made = requests(gateway, 60_000)
    await load.run(gateway.port, made[:200], min(connections, 4), 2.0)
    before = processes.cpu_seconds(gateway.pid)
    seen = await load.run(gateway.port, made[200:], connections, seconds)
    spent = processes.cpu_seconds(gateway.pid) - before
    p50, p99 = report.percentiles(seen.latencies)
    answers = max(sum(seen.statuses.values()), 1)
    if seen.good < answers:
        report.err.print(f"[red]not all were answered well: {seen.statuses}[/red]")
    return {
        "calls_per_second": seen.per_second,
        "p50_ms": p50 * 1e3,
        "p99_ms": p99 * 1e3,
        "cpu_us_per_call": spent / answers * 1e6,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.serve:
        serve()
        return
    found: dict[str, dict[int, dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="tw-") as folder,
        processes.started([sys.executable, "-m", "benchmarks.tools_load", "--serve"]) as server,
    ):
        ways: dict[str, Callable[[Path], contextlib.AbstractContextManager[Gateway]]] = {
            "straight": partial(straight, server),
            "tollway": tollway,
        }
        if (PEERS / "litellm/bin/litellm").exists():
            ways["litellm"] = litellm
        processes.await_http(f"http://127.0.0.1:{SERVER_PORT}/")
        for name, way in ways.items():
            (own := Path(folder) / name).mkdir()
            with way(own) as gateway:
                if name == "tollway":
                    asyncio.run(asyncio.sleep(2.0))  # until it has asked the server for its tools
                check(gateway)
                found[name] = {
                    n: uvloop.run(measured(gateway, n, args.seconds)) for n in report.progress(args.connections, name)
                }
    heads = ("calls_per_second", "p50_ms", "p99_ms", "cpu_us_per_call")
    rows = [(name, n, *(one[head] for head in heads)) for name, each in found.items() for n, one in each.items()]
    report.table("calls of a tool", ("way", "connections", *heads), rows)
    most = args.connections[-1]
    facts: dict[str, Any] = {
        **found["tollway"][most],
        "added_p50_ms": found["tollway"][args.connections[0]]["p50_ms"]
        - found["straight"][args.connections[0]]["p50_ms"],
    }
    if "litellm" in found:
        facts["throughput_vs_litellm"] = facts["calls_per_second"] / found["litellm"][most]["calls_per_second"]
    report.finish({**facts, "by_way": found})


if __name__ == "__main__":
    main()
