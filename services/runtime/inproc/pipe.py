"""A bounded queue of serialised messages between the two sides of a stream."""

import asyncio
from collections import deque

WINDOW_BYTES = 64 << 10
"""What may wait unread before the writer waits, as in HTTP/2's default flow-control window."""


class Pipe:
    """One writer, one reader. The writer waits while a window's worth lies unread."""

    __slots__ = ("_closed", "_error", "_messages", "_reader", "_waiting", "_writer")

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._waiting = 0
        self._closed = False
        self._error: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @property
    def closed(self) -> bool:
        return self._closed

    async def put(self, message: bytes) -> None:
        """Adds a message; returns when there is room for the next."""
        if self._closed:
            raise asyncio.InvalidStateError("the stream is closed")
        self._messages.append(message)
        self._waiting += len(message) + 1
        _wake(self._reader)
        while self._waiting > WINDOW_BYTES and not self._closed:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    async def get(self) -> bytes | None:
        """The next message, or None at the end. Raises what `close` was given once all is read."""
        while not self._messages:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        message = self._messages.popleft()
        self._waiting -= len(message) + 1
        if self._waiting <= WINDOW_BYTES:
            _wake(self._writer)
        return message

    def close(self, error: BaseException | None = None, *, discard: bool = False) -> None:
        """Ends the stream: for the reader after what is still in it, or at once with `discard`."""
        if discard:
            self._messages.clear()
        if not self._closed:
            self._closed, self._error = True, error
        _wake(self._reader)
        _wake(self._writer)


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)
