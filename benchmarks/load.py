"""A load generator that costs little itself: keep-alive connections, each sending its next request when answered."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Load:
    """What a run has seen. Latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> int:
        return self.statuses.get(200, 0)

    @property
    def per_second(self) -> float:
        return self.good / self.seconds if self.seconds else 0.0


class Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], load: Load, until: float, done: "asyncio.Future[None]") -> None:
        self.requests, self.load, self.until, self.done = requests, load, until, done
        self.read, self.began = bytearray(), 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self.requests, None) if time.perf_counter() < self.until else None
        if request is None:
            self.transport.close()
            return
        self.began = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.read += data
        end = self.read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.read[:end]).lower()
        if b"transfer-encoding: chunked" in head:
            if not self.read.endswith(b"0\r\n\r\n"):
                return
        elif len(self.read) < end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0):
            return
        status = int(head[9:12])
        self.load.statuses[status] = self.load.statuses.get(status, 0) + 1
        self.load.latencies.append(time.perf_counter() - self.began)
        self.read.clear()
        if b"connection: close" not in head:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def run(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Sends `requests` over and over, until `seconds` have passed."""
    loop, load = asyncio.get_running_loop(), Load()
    each, began = itertools.cycle(requests), time.perf_counter()
    ends = []
    for _ in range(connections):
        ends.append(done := loop.create_future())
        await loop.create_connection(lambda done=done: Connection(each, load, began + seconds, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.wait(ends, timeout=seconds + 60)
    load.seconds = time.perf_counter() - began
    return load


def post(port: int, path: str, body: bytes, key: str = "", more: str = "") -> bytes:
    """A POST as bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\n{more}content-length: {len(body)}\r\n\r\n"
    ).encode() + body
