"""A service with all four kinds of call, told by its messages what to do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from services.runtime.channels import DEADLINE
from services.runtime.errors import Failure, Kind
from services.runtime.server import Service

NAME = "test.v1.EchoService"


class Empty(Failure):
    kind, reason = Kind.EXHAUSTED, "EMPTY"
    text = "nothing left of {thing}"


def said(text: str) -> StringValue:
    return StringValue(value=text)


class Echo:
    """Notes what happens to its calls, so that tests can ask."""

    def __init__(self) -> None:
        self.begun = self.cancelled = self.finished = self.produced = 0
        self.told_late = 0
        """Calls that ended by the DEADLINE_EXCEEDED of the call they waited for."""
        self.seen: list[str] = []
        self.deadlines: list[float | None] = []
        self.peer: Any = None
        """A stub of the service itself, for calls that make calls."""
        self.left: set[asyncio.Task[Any]] = set()

    async def unary(self, request: StringValue, context: Any) -> StringValue:
        self.begun += 1
        try:
            return await self._done(request.value, context)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        except grpc.aio.AioRpcError as error:
            self.told_late += error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            self.finished += 1

    async def _done(self, text: str, context: Any) -> StringValue:
        order, _, rest = text.partition(":")
        self.deadlines.append(DEADLINE.get())
        match order:
            case "sleep":
                await asyncio.sleep(float(rest))
            case "refuse":
                raise Empty(thing=rest, retry_after_s=1.5, quota="acme:main")
            case "bug":
                raise KeyError(rest)
            case "abort":
                await context.abort(grpc.StatusCode.DATA_LOSS, rest, (("x-why", "told to"),))
            case "ask":
                return said((await self.peer.unary(said(rest))).value)
            case "ask soon":
                return said((await self.peer.unary(said(rest), timeout=0.1)).value)
            case "leave":
                self.left.add(asyncio.ensure_future(self._asked(rest)))
            case "left":
                return said(str(context.time_remaining()))
            case "metadata":
                pairs = dict(context.invocation_metadata())
                await context.send_initial_metadata((("x-first", "1"),))
                context.set_trailing_metadata((("x-last", "2"), ("x-raw-bin", b"\x00\xff")))
                return said(f"{pairs.get('x-word')} {pairs.get('x-raw-bin')!r}")
        return said(text)

    async def _asked(self, text: str) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self.peer.unary(said(text))

    async def counted(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        """`N` or `N:SIZE`: so many answers, each of SIZE characters; then `N:SIZE:refuse` fails."""
        self.begun += 1
        try:
            number, size, then = (*request.value.split(":"), "", "")[:3]
            for n in range(int(number)):
                self.produced += 1
                yield said(f"{n}".ljust(int(size or 0), "."))
            if then == "refuse":
                raise Empty(thing="answers")
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.finished += 1

    async def written(self, request: StringValue, context: Any) -> None:
        for n in range(int(request.value)):
            await context.write(said(str(n)))

    async def joined(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        """Answers all words as one; `stop` answers at once, `refuse` fails at once."""
        self.begun += 1
        words = []
        try:
            async for request in requests:
                self.seen.append(request.value)
                if request.value == "stop":
                    break
                if request.value == "refuse":
                    raise Empty(thing="patience")
                words.append(request.value)
            return said(" ".join(words))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.finished += 1

    async def turned(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        """Answers each word by itself, in capitals."""
        self.begun += 1
        try:
            async for request in requests:
                self.seen.append(request.value)
                if request.value == "refuse":
                    raise Empty(thing="patience")
                yield said(request.value.upper())
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.finished += 1

    def service(self) -> Service:
        read, write = StringValue.FromString, StringValue.SerializeToString
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary, read, write),
            "Counted": grpc.unary_stream_rpc_method_handler(self.counted, read, write),
            "Written": grpc.unary_stream_rpc_method_handler(self.written, read, write),
            "Joined": grpc.stream_unary_rpc_method_handler(self.joined, read, write),
            "Turned": grpc.stream_stream_rpc_method_handler(self.turned, read, write),
        }
        generic = grpc.method_handlers_generic_handler(NAME, handlers)
        return Service(NAME, "echo.tollway", lambda server: server.add_generic_rpc_handlers((generic,)))


class Stub:
    """What protoc would have made."""

    def __init__(self, channel: Any) -> None:
        def call(kind: str, name: str) -> Any:
            return getattr(channel, kind)(f"/{NAME}/{name}", StringValue.SerializeToString, StringValue.FromString)

        self.unary = call("unary_unary", "Unary")
        self.counted = call("unary_stream", "Counted")
        self.written = call("unary_stream", "Written")
        self.joined = call("stream_unary", "Joined")
        self.turned = call("stream_stream", "Turned")
        self.missing = call("unary_unary", "Missing")
