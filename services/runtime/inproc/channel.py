"""A channel to a service of this process; generated stubs take it for any other."""

from collections.abc import Callable
from typing import Any

from services.runtime.inproc.calls import UnaryCall
from services.runtime.inproc.context import Pairs
from services.runtime.inproc.streams import StreamCall, opened

Serialize = Callable[[Any], bytes]
Parse = Callable[[bytes], Any]


def _plain(value: Any) -> Any:
    return value


class InprocChannel:
    """Finds its server by name at each call, so that either side may start first."""

    def __init__(self, name: str) -> None:
        self._name = name

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        name, write, parse = self._name, request_serializer or _plain, response_deserializer or _plain

        def call(request: Any, *, timeout: float | None = None, metadata: Pairs | None = None, **_: Any) -> UnaryCall:
            return UnaryCall(name, method, write(request), parse, tuple(metadata or ()), timeout)

        return call

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        def call(request: Any, *, timeout: float | None = None, metadata: Pairs | None = None, **_: Any) -> StreamCall:
            return self._stream(method, request_serializer, response_deserializer, timeout, metadata, request, None)

        return call

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        def call(
            request_iterator: Any = None, *, timeout: float | None = None, metadata: Pairs | None = None, **_: Any
        ) -> StreamCall:
            return self._stream(
                method, request_serializer, response_deserializer, timeout, metadata, None, request_iterator
            )

        return call

    stream_stream = stream_unary

    def _stream(
        self,
        method: str,
        write: Serialize | None,
        parse: Parse | None,
        timeout: float | None,
        metadata: Pairs | None,
        request: Any,
        requests: Any,
    ) -> StreamCall:
        work = opened(self._name, method, tuple(metadata or ()))
        return StreamCall(work, timeout, write or _plain, parse or _plain, request=request, requests=requests)

    async def close(self, grace: float | None = None) -> None:
        """Nothing is kept open."""

    async def __aenter__(self) -> "InprocChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
