"""The calling side of the in-process transport: one object a call, as `grpc.aio` gives them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextvars import Context
from typing import Any

import grpc
from grpc.aio import AbortError, AioRpcError, Metadata

from services.runtime.inproc.context import InprocContext, Pairs, metadata_of
from services.runtime.inproc.driven import Driven
from services.runtime.inproc.server import SERVERS, unimplemented

Code = grpc.StatusCode


class Outcome:
    """How a call ended. The first ending stands."""

    __slots__ = ("_callbacks", "_done", "code", "details", "initial", "locally_cancelled", "trailing")

    def __init__(self) -> None:
        self.code: Code | None = None
        self.details = ""
        self.initial: Pairs = ()
        self.trailing: Pairs = ()
        self.locally_cancelled = False
        self._done: asyncio.Event | None = None
        self._callbacks: list[Callable[[], None]] = []

    def end(self, code: Code, details: str = "", context: InprocContext | None = None) -> bool:
        """Sets the outcome; False when there was one already."""
        if self.code is not None:
            return False
        self.code, self.details = code, details
        if context is not None:
            self.initial, self.trailing = context.initial_metadata(), context.trailing_metadata()
        if self._done is not None:
            self._done.set()
        for callback in self._callbacks:
            callback()
        return True

    def tell(self, callback: Callable[[], None]) -> None:
        if self.code is None:
            self._callbacks.append(callback)
        else:
            callback()

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

    __slots__ = ("_awaiter", "_metadata", "_method", "_name", "_parse", "_payload", "_response", "_start", "_task")

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
        self._task: asyncio.Task[None] | None = None
        self._awaiter: asyncio.Task[Any] | None = None
        self._start: asyncio.Handle | None = asyncio.get_running_loop().call_soon(self._launch)

    def cancel(self) -> bool:
        if self.done():
            return False
        self._outcome.locally_cancelled = True
        self._interrupt(Code.CANCELLED, "Locally cancelled by application!")
        return True

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._start is not None:
            self._start.cancel()
            self._start = None
            if not self.done():
                return self._inline()
        return self._joined()

    def _launch(self) -> None:
        self._start = None
        if not self.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def _run(self) -> None:
        await Driven(self._lived(), Context())

    def _inline(self) -> Generator[Any, Any, Any]:
        self._awaiter = asyncio.current_task()
        yield from Driven(self._lived(), Context()).__await__()
        return self._result()

    def _joined(self) -> Generator[Any, Any, Any]:
        try:
            yield from self._outcome.wait().__await__()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self._result()

    def _result(self) -> Any:
        if self._outcome.code is Code.OK:
            return self._parse(self._response)
        if self._outcome.locally_cancelled:
            raise asyncio.CancelledError
        raise self._outcome.error()

    async def _lived(self) -> None:
        """From start to outcome; raises only when the awaiting task itself was cancelled."""
        timer: asyncio.TimerHandle | None = None
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                self._outcome.end(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
                return
            timer = asyncio.get_running_loop().call_later(left, self._expire)
        try:
            await self._served()
        except asyncio.CancelledError:
            if self._outcome.end(Code.CANCELLED, "Locally cancelled by application!"):
                self._outcome.locally_cancelled = True
                raise
            if self._awaiter is not None:
                self._awaiter.uncancel()
        finally:
            if timer is not None:
                timer.cancel()

    async def _served(self) -> None:
        server = SERVERS.get(self._name)
        if server is None or not server.begin(self._stop):
            self._outcome.end(Code.UNAVAILABLE, f"inproc:{self._name} is not served")
            return
        handler = server.handler(self._method)
        context = InprocContext(self._metadata, self._deadline)
        try:
            if handler is None or handler.unary_unary is None:
                self._outcome.end(*unimplemented())
                return
            request = handler.request_deserializer(self._payload)
            response = await handler.unary_unary(request, context)
            self._response = handler.response_serializer(response)
            self._outcome.end(context.code() or Code.OK, context.details(), context)
        except AbortError:
            self._outcome.end(context.code(), context.details(), context)
        finally:
            context.finish(cancelled=self._outcome.code is not Code.OK)
            server.end(self._stop)

    def _expire(self) -> None:
        self._interrupt(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _stop(self) -> None:
        self._interrupt(Code.UNAVAILABLE, f"inproc:{self._name} has stopped")

    def _interrupt(self, code: Code, details: str) -> None:
        """Ends the call from outside its own task."""
        if self._outcome.end(code, details) and (task := self._task or self._awaiter) is not None:
            task.cancel()


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
