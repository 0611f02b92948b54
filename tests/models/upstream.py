"""A provider that answers what it is told, on any wire, and keeps what it got."""

import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from tollway.chat.v1 import chat_pb2 as chat

from services.encoder.app import tokenizer
from services.models.catalogue import Entry
from services.models.compression import Compressor
from services.models.counting import Counter
from services.models.vectors import Encoded
from services.models.wires.adapter import Adapter, Target
from tests.support.encoders import Encoder

GOLDEN = Path(__file__).parent / "golden"
WIRES = ("openai", "responses", "anthropic", "gemini", "bedrock", "vertex")
SPEAKS = {"vertex": "gemini"}
"""Wires at other addresses that say what one of the others says."""
SECRET = "secret-key"
PIECE = 37
"""Bytes that a stream is cut into, wherever that falls."""


@cache
def counter() -> Counter:
    return Counter(tokenizer())


def compressor() -> Compressor:
    return Compressor(counter(), Encoded(Encoder()))  # type: ignore[arg-type]


def golden(wire: str, name: str) -> Any:
    return json.loads((GOLDEN / f"{SPEAKS.get(wire, wire)}.json").read_text())[name]


def asked(wire: str, name: str = "request") -> chat.ChatRequest:
    """The request of that name, as far as the wire can carry it."""
    made = chat.ChatRequest()
    json_format.ParseDict(json.loads((GOLDEN / f"{name}.json").read_text()), made)
    if wire == "responses":
        del made.stop[:]
    return made


def stream(wire: str) -> bytes:
    """The golden stream as the wire frames it."""
    found = golden(wire, "stream")
    return b"".join(frame(kind, event) for kind, event in found) if wire == "bedrock" else found.encode()


def frame(kind: str, event: Any, type_header: str = ":event-type") -> bytes:
    """One message of AWS's event stream: prelude, headers, payload, each with its checksum."""
    payload = json.dumps(event).encode()
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in ((type_header, kind), (":message-type", "event"), (":content-type", "application/json"))
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def target(wire: str, url: str, secret: str = SECRET, **more: Any) -> Target:
    entry = Entry("provider-model", wire=wire, base_url=url, region="eu-central-1", project="house", **more)
    return Target("m", entry, entry.places[0], secret)


async def streamed(adapter: Adapter, to: Target, request: chat.ChatRequest) -> list[chat.ChatChunk]:
    return [chunk async for chunk in adapter.stream(to, request)]


class Upstream:
    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answer: Any = {}
        """Bytes are sent in pieces, as a stream; anything else as JSON."""
        self.status, self.headers = 200, dict[str, str]()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw = await request.read()
        body = await request.json() if request.content_type == "application/json" else None
        self.got.append({"path": request.raw_path.removeprefix("/v1"), "headers": headers, "body": body, "raw": raw})
        if isinstance(self.answer, bytes):
            response = web.StreamResponse(
                status=self.status, headers={"content-type": "text/event-stream", **self.headers}
            )
            await response.prepare(request)
            for n in range(0, len(self.answer), PIECE):
                await response.write(self.answer[n : n + PIECE])
            return response
        return web.json_response(self.answer, status=self.status, headers=self.headers)


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    made, application = Upstream(), web.Application()
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    await runner.cleanup()
