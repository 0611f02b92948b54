"""The calling side of the in-process transport: one object a call, as `grpc.aio` gives them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextvars import Context, ContextVar
from typing import Any

import grpc
from grpc.aio import AbortError, AioRpcError, Metadata

from services.runtime.inproc.context import InprocContext, Pairs, metadata_of
from services.runtime.inproc.driven import Driven, driven
from services.runtime.inproc.server import SERVERS, unimplemented
from services.runtime.inproc.starting import start_later

Code = grpc.StatusCode
OK = Code.OK
NEAR_S = 0.001
"""What is left of a deadline is told on in seconds, and read a little later: so near, two deadlines are one."""

_watch: ContextVar[tuple["asyncio.Task[Any]", float] | None] = ContextVar("watch", default=None)
"""The task that will be cancelled at a deadline, and that deadline: calls that it awaits itself need no timer of their own."""


class Outcome:
    """How a call ended. The first ending stands."""

    code: Code | None = None
    details = ""
    initial: Pairs = ()
    trailing: Pairs = ()
    locally_cancelled = False
    _done: asyncio.Event | None = None
    _callbacks: list[Callable[[], None]] | None = None

    def end(self, code: Code, details: str = "", context: InprocContext | None = None) -> bool:
        """Sets the outcome; False when there was one already."""
        if self.code is not None:
            return False
        self.code = code
        if details:
            self.details = details
        if context is not None:
            self.initial, self.trailing = context.initial, context.trailing
        if self._done is not None:
            self._done.set()
        for callback in self._callbacks or ():
            callback()
        return True

    def tell(self, callback: Callable[[], None]) -> None:
        if self.code is not None:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    async def wait(self) -> None:
        if self.code is None:
            self._done = self._done or asyncio.Event()
            await self._done.wait()

    def error(self) -> AioRpcError:
        assert self.code is not None
        return AioRpcError(self.code, metadata_of(self.initial), metadata_of(self.trailing), self.details, "in process")


class Call:
    """What all four kinds share."""

    __slots__ = ("__weakref__", "_deadline", "_outcome")

    def __init__(self, timeout: float | None) -> None:
        self._outcome = Outcome()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def done(self) -> bool:
        return self._outcome.code is not None

    def cancelled(self) -> bool:
        return self._outcome.code is Code.CANCELLED

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._outcome.tell(lambda: callback(self))

    async def wait_for_connection(self) -> None:
        """There is nothing to connect."""

    async def code(self) -> Code:
        await self._outcome.wait()
        assert self._outcome.code is not None
        return self._outcome.code

    async def details(self) -> str:
        await self._outcome.wait()
        return self._outcome.details

    async def initial_metadata(self) -> Metadata:
        await self._outcome.wait()
        return metadata_of(self._outcome.initial)

    async def trailing_metadata(self) -> Metadata:
        await self._outcome.wait()
        return metadata_of(self._outcome.trailing)

    def debug_error_string(self) -> str:
        return self._outcome.details


class UnaryCall(Call):
    """One message each way.

    Awaited at once, as nearly every call is, the handler runs inside the caller's task. Left alone, it starts
    by itself at the loop's next turn, as on the wire.
    """

    __slots__ = ("_loop", "_metadata", "_method", "_name", "_parse", "_payload", "_response", "_task", "waits")

    def __init__(
        self,
        name: str,
        method: str,
        payload: bytes,
        parse: Callable[[bytes], Any],
        metadata: Pairs,
        timeout: float | None,
    ) -> None:
        super().__init__(timeout)
        self._name, self._method, self._payload = name, method, payload
        self._parse, self._metadata = parse, metadata
        self._response: Any = None
        self._task: asyncio.Task[Any] | None = None
        self.waits = True
        """To be started."""
        self._loop = asyncio.get_running_loop()
        start_later(self._loop, self)

    def cancel(self) -> bool:
        if self.done():
            return False
        self._outcome.locally_cancelled = True
        self._interrupt(Code.CANCELLED, "Locally cancelled by application!")
        return True

    def __await__(self) -> Generator[Any, Any, Any]:
        if self.waits:
            self.waits = False
            if self._outcome.code is None:
                self._task = asyncio.current_task(self._loop)
                return driven(self._lived(_watch.get(), joined=True), Context(), self._result)
        return self._joined()

    def start(self) -> None:
        """Begins in a task of its own what nobody has awaited."""
        self.waits = False
        if self._outcome.code is None:
            self._task = self._loop.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        await Driven(self._lived(None, joined=False), Context())

    def _joined(self) -> Generator[Any, Any, Any]:
        try:
            yield from self._outcome.wait().__await__()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self._result()

    def _result(self) -> Any:
        if self._outcome.code is OK:
            return self._parse(self._response)
        if self._outcome.locally_cancelled:
            raise asyncio.CancelledError
        raise self._outcome.error()

    async def _lived(self, watch: "tuple[asyncio.Task[Any], float] | None", joined: bool) -> None:
        """From start to outcome; raises only when the awaiting task itself was cancelled.

        `watch` is the caller's own; `joined` says that the caller's task runs this.
        """
        outcome, timer = self._outcome, None
        if self._deadline is not None:
            timer = self._timed(watch)
            if outcome.code is not None:
                return
        server = SERVERS.get(self._name)
        if server is None or not server.begin(self):
            outcome.end(Code.UNAVAILABLE, f"inproc:{self._name} is not served")
            if timer is not None:
                timer.cancel()
            return
        context = InprocContext(self._metadata, self._deadline)
        try:
            handler = server.handler(self._method)
            if handler is None or handler.unary_unary is None:
                outcome.end(*unimplemented())
                return
            response = await handler.unary_unary(handler.request_deserializer(self._payload), context)
            self._response = handler.response_serializer(response)
            outcome.end(context.status or OK, context.said, context)
        except AbortError:
            outcome.end(context.status, context.said, context)
        except asyncio.CancelledError:
            if outcome.end(Code.CANCELLED, "Locally cancelled by application!"):
                outcome.locally_cancelled = True
                raise
            if joined and self._task is not None:
                self._task.uncancel()
        finally:
            if timer is not None:
                timer.cancel()
            context.finish(cancelled=outcome.code is not OK)
            server.end(self)

    def _timed(self, watch: "tuple[asyncio.Task[Any], float] | None") -> asyncio.TimerHandle | None:
        """Sees to it that the call ends at its deadline: by a timer, unless the caller's own ends both in time."""
        assert self._deadline is not None
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._outcome.end(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
            return None
        if watch is not None and watch[0] is self._task and watch[1] <= self._deadline + NEAR_S:
            _watch.set(watch)
            return None
        if self._task is not None:
            _watch.set((self._task, self._deadline))
        return self._loop.call_later(left, self._expire)

    def _expire(self) -> None:
        self._interrupt(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def stop(self) -> None:
        """Ends the call since its server stops."""
        self._interrupt(Code.UNAVAILABLE, f"inproc:{self._name} has stopped")

    def _interrupt(self, code: Code, details: str) -> None:
        """Ends the call from outside its own task."""
        if self._outcome.end(code, details) and self._task is not None:
            self._task.cancel()


async def pulled(source: Any, client: Context) -> Any:
    """The next of the caller's messages, made in the caller's own context; None at the end."""
    try:
        return await Driven(anext(source), client)
    except StopAsyncIteration:
        return None


async def _each(messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


def iterated(messages: Any) -> AsyncIterator[Any]:
    """`messages` as an async iterator, whichever kind the caller gave."""
    return aiter(messages) if hasattr(messages, "__aiter__") else _each(messages)
