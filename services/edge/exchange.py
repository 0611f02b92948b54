"""One HTTP exchange over ASGI: reads a bounded body, writes an answer, knows when the caller has gone."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from services.edge.wire import azure, gemini
from services.edge.wire.errors import Refusal
from services.runtime.begun import Begun, in_time

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
GOOGLE = b"x-goog-api-key"
"""By what Google's clients are told from OpenAI's where both ask for a path."""
WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
SLOWEST_BODY_S = 30.0
MOST_QUERIES = 32
LINGERS_S = 5.0
"""How long the rest of a body that is refused for its size is read and dropped: a caller who still writes when the
connection closes would lose the answer."""


@dataclass(slots=True)
class Exchange:
    scope: Scope
    receive: Receive
    send: Send
    largest_body_bytes: int
    headers: dict[bytes, bytes] = field(init=False)
    path: str = field(init=False)
    deployment: str = ""
    """The model that the path names, where it is one of Azure's: the body asks for it."""
    route: str = ""
    """The path that was matched: what telemetry names, since paths themselves are without bound."""
    body: bytes = b""
    begun: bool = False
    """The head of the answer is on its way: from here on no other status can be sent."""
    left: bool = False
    """The caller went away before the answer was whole."""

    def __post_init__(self) -> None:
        self.headers, self.path = dict(self.scope["headers"]), str(self.scope["path"])
        if self.path.startswith(azure.PREFIX):
            self.path, self.deployment = azure.translated(self.path)
        elif self.path.startswith(gemini.LATER) and (GOOGLE in self.headers or gemini.WORK.search(self.path)):
            self.path = gemini.PATH + self.path.removeprefix(gemini.LATER)

    @property
    def unknown_url(self) -> Refusal:
        """What is said of a path that leads nowhere."""
        return Refusal(404, "unknown_url", f"unknown URL: {self.scope['method']} {self.scope['path'][:200]}")

    @property
    def query(self) -> dict[str, str]:
        """
        Raises:
            Refusal: too much of it.
        """
        return query_of(self.scope)

    async def pieces(self, most: int) -> AsyncIterator[bytes]:
        """The body as it comes, still packed.

        Raises:
            Refusal: it has more than `most` bytes.
            Gone: the caller left before it was all there.
        """
        size, more = 0, True
        while more:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise Gone
            size += len(event.get("body", b""))
            if size > most:
                await self._drop()
                raise _too_large(most)
            yield event.get("body", b"")
            more = event.get("more_body", False)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Reads the body; while the block lasts, a caller who leaves cancels it, and all work behind it.

        Raises:
            Refusal: too large, before or after unpacking; packed in an unknown way; too slow.
            Gone: the caller left before it was all there.
        """
        most = self.largest_body_bytes
        said = self.headers.get(b"content-length", b"0")
        if said.isdigit() and int(said) > most:
            await self._drop()
            raise _too_large(most)
        try:
            raw = await in_time(self._whole(most), SLOWEST_BODY_S)
        except TimeoutError:
            raise Refusal(408, "request_timeout", "the body did not arrive in time") from None
        packing = self.headers.get(b"content-encoding", b"identity").strip().lower()
        self.body = raw if packing == b"identity" else _unpacked(raw, packing, most)
        if self.deployment:
            self.body = azure.asking(self.deployment, self.body, self.headers.get(b"content-type", b""))
        watch = _Watch(self)
        try:
            yield
        finally:
            watch.end()

    async def _whole(self, most: int) -> bytes:
        return b"".join([piece async for piece in self.pieces(most)])

    async def _drop(self) -> None:
        """Reads what is still to come of the body, for a while; not from one who waits to be told to send it."""
        if b"expect" in self.headers:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGERS_S):
                while (await self.receive()).get("more_body"):
                    pass

    async def answer(
        self, body: bytes, headers: Headers = (), status: int = 200, kind: tuple[bytes, bytes] = JSON
    ) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self.begin(status, [kind, length, *headers])
        await self.send({"type": "http.response.body", "body": body})

    async def answer_in_pieces(self, pieces: AsyncIterator[bytes], kind: tuple[bytes, bytes]) -> None:
        """As they come. What fails before the first has a status of its own still."""
        first = await anext(pieces, b"")
        await self.begin(200, [kind])
        await self.write(first)
        async for piece in pieces:
            await self.write(piece)
        await self.end()

    async def refuse(
        self, refusal: Refusal, headers: Headers = (), body: Callable[[Refusal], dict[str, Any]] | None = None
    ) -> None:
        more = headers_of(refusal)
        said = refusal.body() if body is None else body(refusal)
        await self.answer(orjson.dumps(said), [*more, *headers], refusal.status)

    async def begin(self, status: int, headers: Headers) -> None:
        self.begun = True
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, piece: bytes) -> None:
        """Waits while the caller is slow to read."""
        await self.send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self.send({"type": "http.response.body", "body": b""})


def query_of(scope: Scope) -> dict[str, str]:
    """
    Raises:
        Refusal: too much of it.
    """
    try:
        return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), max_num_fields=MOST_QUERIES))
    except ValueError:
        raise Refusal(400, "invalid_value", f"the query has more than {MOST_QUERIES} fields") from None


def headers_of(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in refusal.headers.items()]


class _Watch:
    """Cancels the running task when the caller leaves."""

    __slots__ = ("_event", "_exchange", "_working")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._working = exchange, asyncio.current_task()
        self._wait()

    def end(self) -> None:
        self._event.close()

    def _wait(self) -> None:
        self._event = Begun(self._exchange.receive())
        self._event.tell(self._come)

    def _come(self, event: Event) -> None:
        if event["type"] != "http.disconnect":
            self._wait()
            return
        self._exchange.left = True
        assert self._working is not None
        self._working.cancel()


class Gone(Exception):
    """The caller left: nobody reads what is written from here on."""


def _too_large(most: int) -> Refusal:
    return Refusal(413, "request_too_large", f"the body has more than {most} bytes", headers={"connection": "close"})


def _unpacked(raw: bytes, packing: bytes, most: int) -> bytes:
    """The body, never made larger than `most`: a bomb is refused before it is unpacked."""
    if packing not in WINDOWS:
        raise Refusal(415, "unsupported_encoding", "content-encoding must be identity, gzip or deflate")
    machine = zlib.decompressobj(WINDOWS[packing])
    try:
        made = machine.decompress(raw, most + 1)
    except zlib.error:
        raise Refusal(400, "invalid_encoding", f"the body is not {packing.decode()}") from None
    if len(made) > most or machine.unconsumed_tail:
        raise _too_large(most)
    if not machine.eof:
        raise Refusal(400, "invalid_encoding", f"the {packing.decode()} body is cut short")
    return made
