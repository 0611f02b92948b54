"""What a frame of a session of speech costs: many callers at once, each sending 20 ms of sound every 20 ms and hearing as much.

The provider, on OpenAI's Realtime API, and the callers are in this process, so a frame's way there and back is timed by one clock: behind
Tollway, behind LiteLLM where it is installed (`make bench-peers`), and without a gateway. Tollway holds for each response and settles it.
"""

import argparse
import asyncio
import base64
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

from benchmarks import processes, report
from benchmarks.gateway_load import PEERS, PORT, UPSTREAM_PORT, Gateway, litellm_running, tollway_running
from benchmarks.streams import nobody

EVERY_S = 0.02
SOUND = base64.b64encode(bytes(960)).decode()
"""24,000 samples of 16 bits a second, for 20 ms."""
USAGE = {"input_tokens": 40, "output_tokens": 20, "total_tokens": 60}
SHOWN = ("way_p50_ms", "way_p99_ms", "cpu_us_per_frame", "lost")


@dataclass(slots=True)
class Seen:
    ways: list[float] = field(default_factory=list)
    """From a frame's sending until its answer was read, in seconds."""
    sent: int = 0


async def provider(request: web.Request) -> web.WebSocketResponse:
    """Answers each frame of sound with one as long, and says in it which it was."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    await socket.send_json({"type": "session.created", "event_id": "e", "session": session})
    async for frame in socket:
        event = orjson.loads(frame.data)
        match event["type"]:
            case "input_audio_buffer.append":
                said = {"type": "response.output_audio.delta", "event_id": "e", "response_id": "r", "item_id": event["event_id"],
                        "output_index": 0, "content_index": 0, "delta": SOUND}  # fmt: skip
            case "session.update":
                said = {"type": "session.updated", "event_id": "e", "session": session}
            case "response.create":
                said = {
                    "type": "response.created",
                    "event_id": "e",
                    "response": {"id": "r", "object": "realtime.response", "output": []},
                }
            case _:
                said = {"type": "response.done", "event_id": "e", "response": {"id": "r", "output": [], "usage": USAGE}}
        await socket.send_str(orjson.dumps(said).decode())
    return socket


async def spoken(client: aiohttp.ClientSession, gateway: Gateway, frames: int, seen: Seen) -> None:
    """One caller, from hello to goodbye."""
    url, key = f"ws://127.0.0.1:{gateway.port}/v1/realtime?model={gateway.model}", f"Bearer {gateway.key}"
    async with client.ws_connect(url, headers={"authorization": key}, max_msg_size=0) as socket:
        began: dict[str, float] = {}
        await _until(socket, "session.created")
        await socket.send_str('{"type":"response.create"}')
        await _until(socket, "response.created")
        listening = asyncio.create_task(_heard(socket, began, frames, seen))
        due = time.perf_counter()
        for n in range(frames):
            name = f"f{n}"
            event = orjson.dumps({"type": "input_audio_buffer.append", "event_id": name, "audio": SOUND}).decode()
            began[name] = time.perf_counter()
            await socket.send_str(event)
            seen.sent += 1
            due += EVERY_S
            await asyncio.sleep(max(due - time.perf_counter(), 0))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listening, 10)


async def _until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> None:
    while orjson.loads((await socket.receive(30)).data)["type"] != kind:
        pass


async def _heard(socket: aiohttp.ClientWebSocketResponse, began: dict[str, float], frames: int, seen: Seen) -> None:
    left = frames
    while left and (frame := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        event = orjson.loads(frame.data)
        if event["type"] == "response.output_audio.delta":
            seen.ways.append(time.perf_counter() - began[event["item_id"]])
            left -= 1


async def measured(gateway: Gateway, callers: int, seconds: float) -> dict[str, float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await spoken(client, gateway, 50, Seen())
        seen, frames = Seen(), int(seconds / EVERY_S)
        before = processes.cpu_seconds(gateway.pid) if gateway.pid else 0.0
        tasks = []
        for _ in range(callers):
            tasks.append(asyncio.create_task(spoken(client, gateway, frames, seen)))
            await asyncio.sleep(EVERY_S / callers)  # nobody speaks in step
        await asyncio.gather(*tasks)
        spent = processes.cpu_seconds(gateway.pid) - before if gateway.pid else 0.0
    way50, way99 = report.percentiles(seen.ways)
    return {
        "way_p50_ms": way50 * 1e3,
        "way_p99_ms": way99 * 1e3,
        "cpu_us_per_frame": spent / max(len(seen.ways), 1) * 1e6,
        "lost": seen.sent - len(seen.ways),
    }


@contextlib.contextmanager
def tollway(folder: Path) -> Iterator[Gateway]:
    environ = {
        "TOLLWAY_LEDGER__PRICES": '{mock: {input: "4", output: "16"}}',
        "TOLLWAY_MODELS__CATALOGUE__MOCK__REALTIME": "true",
    }
    with tollway_running(folder, PORT, environ, f"--model=mock=openai:mock@http://127.0.0.1:{UPSTREAM_PORT}/v1") as one:
        yield one


def litellm(folder: Path) -> contextlib.AbstractContextManager[Gateway]:
    params = {"model": "openai/mock", "api_base": f"http://127.0.0.1:{UPSTREAM_PORT}/v1", "api_key": "none"}
    models = [{"model_name": "mock", "litellm_params": params, "model_info": {"mode": "realtime"}}]
    return litellm_running(folder, PORT + 1, {"model_list": models})


async def main(args: argparse.Namespace) -> None:
    ways: dict[str, Callable[[Path], Any]] = {"nobody": nobody, "tollway": tollway}
    if (PEERS / "litellm/bin/litellm").exists():
        ways["litellm"] = litellm
    application = web.Application()
    application.router.add_get("/v1/realtime", provider)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", UPSTREAM_PORT, backlog=4096).start()
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in args.only or ways:
        with tempfile.TemporaryDirectory(prefix="tw-") as folder, contextlib.ExitStack() as stack:
            stands = await asyncio.to_thread(stack.enter_context, ways[name](Path(folder)))
            found[name] = {n: await measured(stands, n, args.seconds) for n in report.progress(args.callers, name)}
    await runner.cleanup()
    heads = ("gateway", "callers", "a frame's way there and back p50 ms", "p99", "CPU us/frame", "lost")
    report.table("20 ms of sound, both ways", heads, [
        (name, n, *(run[one] for one in SHOWN)) for name, runs in found.items() for n, run in runs.items()
    ])  # fmt: skip
    most = max(args.callers)
    facts: dict[str, Any] = {**found.get("tollway", {}).get(most, {}), "by_gateway": found}
    if "litellm" in found and "tollway" in found:
        cost = [found[one][most]["cpu_us_per_frame"] for one in ("litellm", "tollway")]
        facts["cpu_of_litellm_over_ours"] = cost[0] / cost[1]
    report.finish(facts)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--callers", type=int, nargs="+", default=[1, 16], help="at once")
    asked.add_argument("--seconds", type=float, default=5.0, help="that each speaks")
    asked.add_argument("--only", nargs="+", help="of nobody, tollway, litellm")
    uvloop.run(main(asked.parse_args()))
