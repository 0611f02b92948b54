"""A channel that is opened anew, behind its stubs' backs, when the files of its certificates have changed.

gRPC reads a client's certificate once. A server asks its own for each handshake; see `server.py`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

log = logging.getLogger(__name__)

LOOKS_EVERY_S = 1.0
OLD_LASTS_S = 600.0
"""Calls under way on the channel before may take so long to end."""


class Rotating:
    """Looks at `files` when it is called, at most once a second; calls under way end on the channel that they began on."""

    def __init__(self, opened: Callable[[], Any], files: Sequence[str]) -> None:
        self._opened, self._files = opened, files
        self._seen = stamps(self._files)
        self._looked = time.monotonic()
        self._channel = opened()
        self._generation = 0
        self._closing: set[asyncio.Task[None]] = set()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._anew("unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._anew("unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._anew("stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._anew("stream_stream", args, kwargs)

    async def close(self, grace: float | None = None) -> None:
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close(grace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def _anew(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A stub's method, made again on each new channel."""
        made, of = getattr(self._channel, kind)(*args, **kwargs), self._generation

        def called(*call_args: Any, **call_kwargs: Any) -> Any:
            nonlocal made, of
            self._look()
            if of != self._generation:
                made, of = getattr(self._channel, kind)(*args, **kwargs), self._generation
            return made(*call_args, **call_kwargs)

        return called

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOKS_EVERY_S:
            return
        self._looked = now
        if (now_are := stamps(self._files)) == self._seen:
            return
        try:
            fresh = self._opened()
        except OSError as error:  # half of a rotation: what is there is used until the other half comes
            log.warning("certificates could not be read again: %s", error)
            return
        before, self._channel, self._seen = self._channel, fresh, now_are
        self._generation += 1
        task = asyncio.ensure_future(before.close(OLD_LASTS_S))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        log.info("certificates were rotated: %s", ", ".join(self._files))


def stamps(files: Sequence[str]) -> tuple[int, ...]:
    """When each file was last changed, in nanoseconds; 0 for one that is not there."""
    return tuple(os.stat(file).st_mtime_ns if os.path.exists(file) else 0 for file in files)
