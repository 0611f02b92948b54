"""The ASGI application: finds the handler, and turns every failure into an OpenAI error body."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import SpanKind

from services.edge.console import SAFE, Asset
from services.edge.door import Door
from services.edge.exchange import Event, Exchange, Gone, Receive, Scope, Send
from services.edge.sockets import Handler as SocketHandler
from services.edge.sockets import Sockets
from services.edge.wire.errors import Refusal, of_failure
from services.runtime import cohorts, telemetry

log = logging.getLogger(__name__)

CONSOLE = "/console"

Handler = Callable[[Exchange, Door], Awaitable[None]]
Methods = Mapping[str, Handler]


@dataclass(slots=True)
class Application:
    door: Door
    largest_body_bytes: int
    routes: Mapping[str, Methods]
    prefixes: Mapping[str, Methods] = field(default_factory=dict)
    public: frozenset[str] = frozenset()
    """Routes that are open to whoever is not signed in yet."""
    uploads: frozenset[str] = frozenset()
    """Routes whose handlers read the body themselves when they are posted to."""
    refused: Mapping[str, Callable[[Refusal], dict[str, Any]]] = field(default_factory=dict)
    """What a refusal looks like on routes that do not speak OpenAI's wire."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What a prompt is called on routes whose bodies have no `messages`."""
    assets: Mapping[str, Asset] = field(default_factory=dict)
    """Files of the console, by path."""
    sockets: Mapping[str, SocketHandler] = field(default_factory=dict)
    """Sessions over web sockets, by path."""
    draining: bool = False
    """Said by readiness while the calls under way finish."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await Sockets(self.door, self.sockets)(scope, receive, send)
            return
        exchange = Exchange(scope, receive, _last(send) if self.draining else send, self.largest_body_bytes)
        try:
            await self._answered(exchange)
        except Gone:
            return
        except asyncio.CancelledError:
            # Ours when the caller left: the work is undone by now, and there is nobody to tell.
            task = asyncio.current_task()
            if task is None or not exchange.left:
                raise
            task.uncancel()

    async def _answered(self, exchange: Exchange) -> None:
        if (state := self._health(exchange.path)) is not None:
            await exchange.answer(b'{"status":"%s"}' % state[1].encode(), status=state[0])
            return
        if exchange.path.startswith(CONSOLE) and await self._page(exchange):
            return
        span = None
        try:
            handler = self._handler(exchange)
            await cohorts.join("enter")
            if exchange.route in self.public:
                self.door.admit(exchange.headers)
            else:
                await self.door.enter(exchange.headers)
            name = f"edge {exchange.scope['method']} {exchange.route}"
            span = telemetry.begin_span(name, telemetry.current(), SpanKind.SERVER)
            if exchange.route in self.uploads and exchange.scope["method"] == "POST":
                await handler(exchange, self.door)
            else:
                async with exchange.attended():
                    await handler(exchange, self.door)
        except (Gone, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the edge's one place where a failure becomes a status
            await self._refused(exchange, error, span is not None)
        finally:
            if span is not None:
                span.end()

    async def _refused(self, exchange: Exchange, error: Exception, traced: bool) -> None:
        refusal = of_failure(error)
        if refusal.param == "messages":
            refusal.param = self.prompts.get(exchange.route, "messages")
        if traced:
            telemetry.note(http__response__status_code=refusal.status, error__type=refusal.code)
        if exchange.begun:  # a handler that streams tells of failures itself; this one broke while telling
            log.error("an answer broke off: %s", refusal.code)
            raise Gone
        trace = telemetry.current()
        headers = [(b"x-tollway-trace", trace.hex.encode())] if trace is not None else []
        await exchange.refuse(refusal, headers, self.refused.get(exchange.route))

    async def _page(self, exchange: Exchange) -> bool:
        """A file of the console, which everybody may read; False when there is no such file."""
        if exchange.path == CONSOLE:
            await exchange.begin(308, [(b"location", b"console/"), (b"content-length", b"0")])
            await exchange.end()
            return True
        asset = self.assets.get(exchange.path)
        if asset is None or exchange.scope["method"] != "GET":
            return False
        known = exchange.headers.get(b"if-none-match") == asset.tag
        body = b"" if known else asset.body
        length = (b"content-length", b"%d" % len(body))
        await exchange.begin(
            304 if known else 200, [(b"content-type", asset.kind), (b"etag", asset.tag), length, *SAFE]
        )
        await exchange.write(body)
        await exchange.end()
        return True

    def _health(self, path: str) -> tuple[int, str] | None:
        if path == "/healthz":
            return 200, "alive"
        if path == "/readyz":
            return (503, "draining") if self.draining else (200, "ready")
        return None

    def _handler(self, exchange: Exchange) -> Handler:
        path, method = exchange.path, exchange.scope["method"]
        methods, route = self.routes.get(path), path
        if methods is None:
            route = next((one for one in self.prefixes if path.startswith(one) and len(path) > len(one)), "")
            methods = self.prefixes.get(route)
        if methods is None:
            raise exchange.unknown_url
        if (handler := methods.get(method)) is None:
            allowed = ", ".join(sorted(methods))
            raise Refusal(
                405, "method_not_allowed", f"{method} is not allowed on {path[:200]}", headers={"allow": allowed}
            )
        exchange.route = route
        return handler


def _last(send: Send) -> Send:
    """Tells the caller that this connection ends with this answer: its next request opens one to whoever serves then."""

    async def told(event: Event) -> None:
        if event["type"] == "http.response.start":
            event["headers"] = [*event["headers"], (b"connection", b"close")]
        await send(event)

    return told
