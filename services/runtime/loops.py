"""Something that there is one of for each event loop."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Made when a loop first asks for it, and gone with the loop, but for the last one's.

    A process that serves has one loop and asks dozens of times a request: comparing it costs a tenth of what looking it up does.
    """

    __slots__ = ("_all", "_last", "_loop", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._all: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last: T

    def of(self, loop: asyncio.AbstractEventLoop) -> T:
        if loop is not self._loop:
            if loop not in self._all:
                self._all[loop] = self._make()
            self._loop, self._last = loop, self._all[loop]
        return self._last
