"""Web sockets over ASGI: a caller is let in, or refused over HTTP, before there is a session; then text passes both ways."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson
from opentelemetry.trace import SpanKind

from services.edge.door import Door
from services.edge.exchange import JSON, Event, Gone, Headers, Receive, Scope, Send, headers_of, query_of
from services.edge.wire import azure
from services.edge.wire.errors import Refusal, of_failure
from services.runtime import telemetry

log = logging.getLogger(__name__)

WELL, UNDERSTOOD_NOT, FORBIDDEN, BROKEN, LATER = 1000, 1003, 1008, 1011, 1013
"""Why a socket is closed (RFC 6455, 7.4.1, and its registry)."""
BEARER = "openai-insecure-api-key."
"""Begins the protocol that a browser offers in place of a header: OpenAI's, whose name says what it thinks of it."""


@dataclass(slots=True)
class Socket:
    scope: Scope
    receive: Receive
    send: Send
    headers: dict[bytes, bytes] = field(init=False)
    path: str = field(init=False)
    open: bool = False

    def __post_init__(self) -> None:
        self.headers, self.path = dict(self.scope["headers"]), str(self.scope["path"])
        if self.path.startswith(azure.PREFIX):
            self.path, _ = azure.translated(self.path)
        for one in self.scope.get("subprotocols") or ():
            if one.startswith(BEARER):
                self.headers.setdefault(b"authorization", b"Bearer " + one.removeprefix(BEARER).encode())

    @property
    def query(self) -> dict[str, str]:
        """
        Raises:
            Refusal: too much of it.
        """
        return query_of(self.scope)

    async def accept(self, headers: Headers, speaks: str) -> None:
        """Opens it; `speaks` is the protocol that is chosen where it is among those offered."""
        offered = speaks in (self.scope.get("subprotocols") or ())
        self.open = True
        await self.send(
            {"type": "websocket.accept", "headers": list(headers), "subprotocol": speaks if offered else None}
        )

    async def texts(self) -> AsyncIterator[str]:
        """What the caller says, until it leaves.

        Raises:
            Refusal: it says what is no text.
        """
        while (event := await self.receive())["type"] == "websocket.receive":
            if (said := event.get("text")) is None:
                raise Refusal(400, "invalid_type", "events are texts, of JSON")
            yield said

    async def tell(self, text: str) -> None:
        """
        Raises:
            Gone: the caller has left.
        """
        await self._sent({"type": "websocket.send", "text": text})

    async def close(self, code: int = WELL, reason: str = "") -> None:
        """
        Raises:
            Gone: the caller has left.
        """
        await self._sent({"type": "websocket.close", "code": code, "reason": reason[:120]})

    async def _sent(self, event: Event) -> None:
        try:
            await self.send(event)
        except OSError:  # as ASGI has it
            raise Gone from None

    async def refuse(self, refusal: Refusal, headers: Headers = ()) -> None:
        """Over HTTP: there is no session yet."""
        start: Event = {"status": refusal.status, "headers": [JSON, *headers_of(refusal), *headers]}
        await self.send({"type": "websocket.http.response.start", **start})
        await self.send({"type": "websocket.http.response.body", "body": orjson.dumps(refusal.body())})


Handler = Callable[[Socket, Door], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sockets:
    door: Door
    routes: Mapping[str, Handler]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = Socket(scope, receive, send)
        await receive()  # that somebody has come
        try:
            await self._served(socket)
        except Gone:
            return

    async def _served(self, socket: Socket) -> None:
        span = None
        try:
            if (handler := self.routes.get(socket.path)) is None:
                raise Refusal(404, "unknown_url", f"unknown URL: {str(socket.scope['path'])[:200]}")
            await self.door.enter(socket.headers)
            span = telemetry.begin_span(f"edge WS {socket.path}", telemetry.current(), SpanKind.SERVER)
            await handler(socket, self.door)
        except (Gone, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - where a failure becomes a status, as for every request
            await self._failed(socket, of_failure(error), span is not None)
        finally:
            if span is not None:
                span.end()

    async def _failed(self, socket: Socket, refusal: Refusal, traced: bool) -> None:
        if traced:
            telemetry.note(http__response__status_code=refusal.status, error__type=refusal.code)
        if socket.open:  # a handler tells of failures itself; this one broke while telling
            log.error("a session broke off: %s", refusal.code)
            await socket.close(BROKEN, refusal.code)
            return
        trace = telemetry.current()
        await socket.refuse(refusal, [(b"x-tollway-trace", trace.hex.encode())] if trace is not None else [])
