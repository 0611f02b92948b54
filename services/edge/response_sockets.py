"""`/v1/responses` over a web socket: one response after another, and several at once, each in OpenAI's events."""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from opentelemetry.trace import SpanKind
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2

from services.edge import kept
from services.edge.door import Door
from services.edge.exchange import Gone, Headers
from services.edge.kept import Said
from services.edge.responses import Answer, Responses
from services.edge.sockets import UNDERSTOOD_NOT, WELL, Handler, Socket
from services.edge.wire import response, response_socket
from services.edge.wire.errors import Refusal, of_failure
from services.edge.wire.own_tools import Own
from services.edge.wire.responses import PATH
from services.runtime import telemetry

PROTOCOL = "realtime"
MOST_WAITING = 16
"""Requests of a socket that are under way or have not begun."""
MOST_KEPT = 8
"""Responses that a socket can go on from though they are kept nowhere else: the latest."""


@dataclass(frozen=True, slots=True)
class ResponseSockets:
    responses: Responses
    longest_s: float
    """A socket is closed after so long."""

    def routes(self) -> dict[str, Handler]:
        return {PATH: self.serve}

    async def serve(self, socket: Socket, door: Door) -> None:
        await socket.accept((), PROTOCOL)
        lanes = _Lanes(self.responses, socket, door)
        try:
            async with asyncio.timeout(self.longest_s):
                async for said in socket.texts():
                    await lanes.take(said)
        except TimeoutError:
            over = Refusal(400, "websocket_connection_limit_reached", f"a socket lasts {self.longest_s:g} s at most")
            await socket.tell(response_socket.error(over))
            await socket.close(WELL, over.code)
        except Refusal as refusal:  # of what is no text
            await socket.tell(response_socket.error(refusal))
            await socket.close(UNDERSTOOD_NOT, refusal.code)
        finally:
            await lanes.close()


@dataclass(slots=True)
class _Lanes:
    """Requests with the same `stream_id` are answered one after the other, others at the same time."""

    responses: Responses
    socket: Socket
    door: Door
    _last: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _all: set["asyncio.Task[None]"] = field(default_factory=set)
    _said: OrderedDict[str, Said] = field(default_factory=OrderedDict)
    """What the latest responses leave to go on from, by their ids."""

    async def take(self, said: str) -> None:
        try:
            asked = response_socket.parsed(said)
        except Refusal as refusal:
            await self.socket.tell(response_socket.error(refusal))
            return
        if isinstance(asked, response_socket.Steer):
            await self.socket.tell(asked.refused())
        elif len(self._all) >= MOST_WAITING:
            full = Refusal(429, "rate_limit_exceeded", f"{MOST_WAITING} requests of this socket wait already")
            await self.socket.tell(response_socket.error(full, asked.lane))
        else:
            task = asyncio.create_task(self._in_turn(asked, self._last.get(asked.lane)))
            self._last[asked.lane] = task
            self._all.add(task)
            task.add_done_callback(partial(self._over, asked.lane))

    async def close(self) -> None:
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _over(self, lane: str, task: "asyncio.Task[None]") -> None:
        self._all.discard(task)
        if self._last.get(lane) is task:
            del self._last[lane]

    async def _in_turn(self, asked: response_socket.Create, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        with suppress(Gone):
            await self._answered(asked)

    async def _answered(self, asked: response_socket.Create) -> None:
        """As a request of its own: with a caller who may still ask, a trace and a deadline."""
        span = None
        try:
            await self.door.enter(self.socket.headers)
            span = telemetry.begin_span("edge WS response.create", telemetry.current(), SpanKind.SERVER)
            await self._answer(asked)
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001 - where a failure becomes an event, as it becomes a status elsewhere
            refusal = of_failure(error)
            if span is not None:
                telemetry.note(error__type=refusal.code)
            await self.socket.tell(response_socket.error(refusal, asked.lane))
        finally:
            if span is not None:
                span.end()

    async def _answer(self, asked: response_socket.Create) -> None:
        self.door.stream()
        work = await self.responses.work(asked.body, self.socket.headers, self._said)
        one = await self.responses.answer(work, asked.body.store)
        events = response_socket.Events(one.frame, asked.lane, Own.of(work.chat.tools))
        listener = _Listener(self.socket)
        if not asked.generate:
            await listener.write(events.begin())
            self._keep(one, Said(one.job_id, kept.asked(work), tools=kept.lasting(work.chat.tools)))
            await listener.write(events.nothing())
            return
        await self.responses.stream(one, listener, events, partial(self._made, one))

    def _made(self, one: Answer, whole: pb.CompleteResponse) -> None:
        made = jobs_pb2.Job(job_id=one.job_id, chat=one.work, result=jobs_pb2.Result(completion=whole))
        self._keep(one, Said.of(made))

    def _keep(self, one: Answer, said: Said) -> None:
        self._said[response.response_id(one.job_id)] = said
        while len(self._said) > MOST_KEPT:
            self._said.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Listener:
    """A response's events on their way to the socket that it was asked for on."""

    socket: Socket

    async def begin(self, status: int, headers: Headers) -> None:
        """A socket has no head."""

    async def write(self, piece: bytes) -> None:
        for line in piece.splitlines():
            await self.socket.tell(line.decode())

    async def end(self) -> None:
        """The next one follows on the same socket."""
