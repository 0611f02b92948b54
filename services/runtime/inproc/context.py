"""What a servicer sees of an in-process call."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import grpc
from grpc.aio import AbortError, BaseError, Metadata, ServicerContext

from services.runtime.inproc.pipe import Pipe

Pairs = Sequence[tuple[str, str | bytes]]


class InprocContext(ServicerContext[Any, Any]):
    """A `grpc.aio.ServicerContext` without a socket."""

    initial: Pairs = ()
    trailing: Pairs = ()
    status: Any = None
    """The code that the handler has set."""
    said = ""
    _callbacks: tuple[Callable[[Any], None], ...] = ()
    _finished = False
    _cancelled = False
    requests: Callable[[], Awaitable[Any]] | None = None
    responses: Pipe | None = None
    serialize: Callable[[Any], bytes] | None = None

    def __init__(self, metadata: Pairs, deadline: float | None) -> None:
        self._metadata = metadata
        self.deadline = deadline
        """`time.monotonic()` at which the call must have ended."""

    async def read(self) -> Any:
        assert self.requests is not None, "the call sends no stream"
        return await self.requests()

    async def write(self, message: Any) -> None:
        assert self.responses is not None, "the call answers no stream"
        await self.responses.put(self.serialize(message) if self.serialize else message)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self.initial = tuple(initial_metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        if self.status is not None and self._finished:
            raise BaseError("abort after the call has ended")
        self.status, self.said = code, details
        if trailing_metadata:
            self.trailing = tuple(trailing_metadata)
        raise AbortError("Locally aborted.")

    async def abort_with_status(self, status: Any) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self.trailing = tuple(trailing_metadata)

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self.status = code

    def set_details(self, details: str) -> None:
        self.said = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing is compressed in process."""

    def disable_next_message_compression(self) -> None:
        """Nothing is compressed in process."""

    def peer(self) -> str:
        return "inproc:"

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> dict[str, Any]:
        return {}

    def time_remaining(self) -> Any:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def trailing_metadata(self) -> Any:
        return self.trailing

    def initial_metadata(self) -> Any:
        return self.initial

    def code(self) -> Any:
        return self.status

    def details(self) -> str:
        return self.said

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks = (*self._callbacks, callback)

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._finished

    def finish(self, cancelled: bool = False) -> None:
        """Marks the call ended and tells those who asked to be told."""
        if not self._finished:
            self._finished, self._cancelled = True, cancelled
            for callback in self._callbacks:
                callback(self)


def metadata_of(pairs: Pairs) -> Metadata:
    return Metadata(*pairs)
