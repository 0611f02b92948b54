"""The serving side of the in-process transport, and the book of names that channels look in."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

Wrap = Callable[[str, Any], Any]
"""Takes a method's full name and its handler, returns the handler to call instead."""

SERVERS: dict[str, "InprocServer"] = {}
"""Who serves under which name in this process."""


class Stoppable(Protocol):
    """A call under way."""

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Details:
    method: str
    invocation_metadata: tuple[()] = ()


class InprocServer:
    """Takes registrations as a `grpc.aio.Server` does. Handlers are wrapped once, not at each call."""

    def __init__(self, name: str, wrap: Wrap) -> None:
        self._name, self._wrap = name, wrap
        self._registered: dict[str, Any] = {}
        self._generic: list[Any] = []
        self._wrapped: dict[str, Any] = {}
        self._under_way: set[Stoppable] = set()
        self._idle = asyncio.Event()
        self._stopping = False

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._registered.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    def start(self) -> None:
        """Raises `RuntimeError` when the name is taken in this process."""
        if self._name in SERVERS:
            raise RuntimeError(f"inproc:{self._name} is served already")
        SERVERS[self._name] = self

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls, waits for those under way, cancels what is left after `grace_s`."""
        self._stopping = True
        if not self._under_way:
            self._idle.set()
        if SERVERS.get(self._name) is self:
            del SERVERS[self._name]
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            for call in tuple(self._under_way):
                call.stop()
            await self._idle.wait()

    def handler(self, method: str) -> Any:
        """The wrapped handler of `method`; None when there is none."""
        if (known := self._wrapped.get(method)) is not None:
            return known
        handler = self._registered.get(method) or self._looked_up(method)
        if handler is not None:
            handler = self._wrapped[method] = self._wrap(method, handler)
        return handler

    def begin(self, call: Stoppable) -> bool:
        """Notes a call under way; False when the server takes no more."""
        if self._stopping:
            return False
        self._under_way.add(call)
        return True

    def end(self, call: Stoppable) -> None:
        self._under_way.discard(call)
        if self._stopping and not self._under_way:
            self._idle.set()

    def _looked_up(self, method: str) -> Any:
        details: Any = _Details(method)
        found = (generic.service(details) for generic in self._generic)
        return next((handler for handler in found if handler is not None), None)


def unimplemented() -> tuple[grpc.StatusCode, str]:
    return grpc.StatusCode.UNIMPLEMENTED, "Method not found!"
