"""Calls that send or answer a stream: the handler runs in a task of its own, between two bounded pipes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from contextvars import Context, copy_context
from typing import Any

from grpc.aio import EOF, AbortError

from services.runtime.inproc.calls import Call, Code, Outcome, iterated, pulled
from services.runtime.inproc.context import InprocContext, Pairs
from services.runtime.inproc.pipe import Pipe
from services.runtime.inproc.server import SERVERS, InprocServer, unimplemented


class _Work:
    """The handler's side. It never refers to the caller's object: a call dropped on the floor ends."""

    __slots__ = ("_client", "_deadline", "_metadata", "_method", "_name", "_source", "outcome", "requests", "responses")

    def __init__(self, name: str, method: str, metadata: Pairs, deadline: float | None, outcome: Outcome) -> None:
        self._name, self._method, self._metadata, self._deadline = name, method, metadata, deadline
        self.outcome = outcome
        self.requests, self.responses = Pipe(), Pipe()
        self._source: AsyncIterator[bytes] | None = None
        self._client: Context | None = None

    def feed(self, source: AsyncIterator[bytes]) -> None:
        """Takes the requests from `source`, in the context of whoever calls this."""
        self._source, self._client = source, copy_context()

    def end(self, code: Code, details: str, context: InprocContext | None = None, *, discard: bool = True) -> bool:
        ended = self.outcome.end(code, details, context)
        self.responses.close(discard=discard and ended)
        self.requests.close(discard=True)
        return ended

    async def serve(self) -> None:
        server = SERVERS.get(self._name)
        if server is None or not server.begin(self):
            self.end(Code.UNAVAILABLE, f"inproc:{self._name} is not served")
            return
        context = InprocContext(self._metadata, self._deadline)
        try:
            await self._handle(server, context)
        except AbortError:
            self.end(context.status, context.said, context, discard=False)
        except asyncio.CancelledError:
            self.end(Code.CANCELLED, "the handler was cancelled")
        finally:
            context.finish(cancelled=self.outcome.code is not Code.OK)
            server.end(self)
            if (close := getattr(self._source, "aclose", None)) is not None:
                await close()

    def stop(self) -> None:
        self.end(Code.UNAVAILABLE, f"inproc:{self._name} has stopped")

    async def _handle(self, server: InprocServer, context: InprocContext) -> None:
        handler = server.handler(self._method)
        if handler is None:
            self.end(*unimplemented())
            return
        parse, serialize = handler.request_deserializer, handler.response_serializer
        context.responses, context.serialize = self.responses, serialize
        if handler.request_streaming:
            asked: Any = self._asked(parse)

            async def read() -> Any:
                return await anext(asked, EOF)

            context.requests = read
            call = handler.stream_stream or handler.stream_unary
        else:
            only = await self._next()
            asked, call = parse(only), handler.unary_stream
        answer = call(asked, context)
        if not handler.response_streaming:
            await self.responses.put(serialize(await answer))
        elif hasattr(answer, "__aiter__"):
            async with contextlib.aclosing(answer):
                async for message in answer:
                    await self.responses.put(serialize(message))
        else:
            await answer
        self.end(context.status or Code.OK, context.said, context, discard=False)

    async def _asked(self, parse: Callable[[bytes], Any]) -> AsyncIterator[Any]:
        while (message := await self._next()) is not None:
            yield parse(message)

    async def _next(self) -> bytes | None:
        if self._source is None:
            return await self.requests.get()
        assert self._client is not None
        message: bytes | None = await pulled(self._source, self._client)
        return message


class StreamCall(Call):
    """A call with a stream in at least one direction."""

    __slots__ = ("_answers", "_answers_stream", "_parse", "_serialize", "_task", "_timer", "_work")

    def __init__(
        self,
        work: Callable[[float | None, Outcome], _Work],
        timeout: float | None,
        serialize: Callable[[Any], bytes],
        parse: Callable[[bytes], Any],
        *,
        request: Any,
        requests: Any,
    ) -> None:
        super().__init__(timeout)
        self._serialize, self._parse = serialize, parse
        self._answers: AsyncIterator[Any] | None = None
        self._work = work(self._deadline, self._outcome)
        if request is not None:
            self._work.feed(_one(serialize(request)))
        elif requests is not None:
            self._work.feed(_serialized(iterated(requests), serialize))
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._work.serve(), context=Context())
        self._timer = None if timeout is None else loop.call_later(timeout, _expire, self._work, self._task)
        if self._timer is not None:
            self._outcome.tell(self._timer.cancel)

    def __del__(self) -> None:
        """A call that nobody holds any more is cancelled, as `grpc.aio` does it."""
        if not self._task.done() and not self._task.get_loop().is_closed():
            self.cancel()

    def cancel(self) -> bool:
        if not self._work.end(Code.CANCELLED, "Locally cancelled by application!"):
            return False
        self._outcome.locally_cancelled = True
        self._task.cancel()
        return True

    async def write(self, request: Any) -> None:
        if self.done() or self._work.requests.closed:
            self._raise_for_status()
            raise asyncio.InvalidStateError("RPC already finished or half-closed.")
        await self._work.requests.put(self._serialize(request))

    async def done_writing(self) -> None:
        self._work.requests.close()

    async def read(self) -> Any:
        """The next answer; `grpc.aio.EOF` after the last."""
        try:
            message = await self._work.responses.get()
            if message is None:
                await self._outcome.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if message is None:
            self._raise_for_status()
            return EOF
        return self._parse(message)

    def __aiter__(self) -> AsyncIterator[Any]:
        self._answers = self._answers or self._iterated()
        return self._answers

    async def _iterated(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not EOF:
            yield message

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._only().__await__()

    async def _only(self) -> Any:
        answer = await self.read()
        await self._outcome.wait()
        self._raise_for_status()
        return answer

    def _raise_for_status(self) -> None:
        if self._outcome.locally_cancelled:
            raise asyncio.CancelledError
        if self._outcome.code not in (None, Code.OK):
            raise self._outcome.error()


def _expire(work: _Work, task: "asyncio.Task[None]") -> None:
    if work.end(Code.DEADLINE_EXCEEDED, "Deadline Exceeded"):
        task.cancel()


async def _one(message: bytes) -> AsyncIterator[bytes]:
    yield message


async def _serialized(messages: AsyncIterator[Any], serialize: Callable[[Any], bytes]) -> AsyncIterator[bytes]:
    try:
        async for message in messages:
            yield serialize(message)
    finally:
        if (close := getattr(messages, "aclose", None)) is not None:
            await close()


def opened(name: str, method: str, metadata: Pairs) -> Callable[[float | None, Outcome], _Work]:
    return lambda deadline, outcome: _Work(name, method, metadata, deadline, outcome)
