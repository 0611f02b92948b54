"""Callers that ask the same at the same time share one answer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from msgspec import Struct
from tollway.chat.v1 import chat_pb2 as chat

MOST_LEADERS = 2
"""Of whom one may wait for before asking for oneself: those whose leader leaves do not all ask at once."""


@dataclass(slots=True)
class Flights:
    _under_way: dict[str, "asyncio.Future[chat.ChatCompletion | None]"] = field(default_factory=dict)

    async def joined(self, key: str, within_s: float | None = None) -> chat.ChatCompletion | None:
        """The answer of whoever is asking the same already; None when nobody is, it came to nothing, or takes longer than
        `within_s`."""
        for _ in range(MOST_LEADERS):
            if not key or (found := self._under_way.get(key)) is None:
                return None
            done, _ = await asyncio.wait([found], timeout=within_s)
            if not done:
                return None
            if (made := found.result()) is not None:
                return made
        return None

    @contextmanager
    def leading(self, key: str) -> Iterator["Flight"]:
        """Others may join while the block lasts. They get what `Flight.land` is given, or None."""
        flight = Flight(asyncio.get_running_loop().create_future())
        first = bool(key) and self._under_way.setdefault(key, flight.future) is flight.future
        try:
            yield flight
        finally:
            if first:
                del self._under_way[key]
            if not flight.future.done():
                flight.future.set_result(None)


class Flight(Struct, frozen=True):
    future: "asyncio.Future[chat.ChatCompletion | None]"

    def land(self, made: chat.ChatCompletion) -> None:
        if not self.future.done():
            self.future.set_result(made)
