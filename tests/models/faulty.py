"""A provider at its worst: sends what a fault says, byte by byte, and may go away in the middle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

SSE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Fault:
    """What comes back: a head, part of a body, and then silence or a cut."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    says_head: bool = True
    hangs: bool = False
    chunked: bool = False
    """Promise more of a chunk than is sent."""
    hasty: bool = False
    """Speaks before it is asked."""

    def said(self) -> bytes:
        if not self.says_head:
            return b""
        named = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = f"HTTP/1.1 {self.status} Fault\r\n{named}"
        if self.chunked:
            return f"{head}transfer-encoding: chunked\r\n\r\n{len(self.body) + 100:x}\r\n".encode() + self.body
        length = len(self.body) + (100 if self.hangs else 0)
        return f"{head}content-length: {length}\r\nconnection: close\r\n\r\n".encode() + self.body


@asynccontextmanager
async def faulty(fault: Fault) -> AsyncIterator[str]:
    """The base URL of one that answers every request so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if not fault.hasty:
                await reader.readuntil(b"\r\n\r\n")
            writer.write(fault.said())
            await writer.drain()
            if fault.hangs:
                await reader.read()  # until the caller leaves
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
