"""Begins to wait without a task: what is there already is had at once, and what is not can tell when it comes."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """An awaitable of which the first step is done. A task that waits beside another, and is cancelled in the end, costs ten times as
    much. It may be awaited or asked to tell, not both."""

    __slots__ = ("_steps", "_tell", "_waited", "done", "value")

    value: T

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._steps = awaitable.__await__()
        self._tell: Callable[[T], object] | None = None
        self.done = False
        self._step(self._steps.__next__)

    def __await__(self) -> Generator[Any, Any, T]:
        while not self.done:
            try:
                yield self._waited
            except GeneratorExit:
                self._steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed on to what is waited for, whatever it is
                self._step(partial(self._steps.throw, error))
            else:
                self._step(self._steps.__next__)
        return self.value

    def tell(self, callback: Callable[[T], object]) -> None:
        """Calls `callback` with the value, now or when it is there."""
        if self.done:
            callback(self.value)
        else:
            self._tell = callback
            self._waited.add_done_callback(self._come)

    def close(self) -> None:
        """Waits no more; nobody is told."""
        if not self.done:
            self._tell = None  # it may be on its way already
            self._waited.remove_done_callback(self._come)
            self._steps.close()

    def _come(self, _: object) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            self._step(self._steps.__next__)
            self.tell(tell)

    def _step(self, step: Callable[[], Any]) -> None:
        try:
            self._waited: Any = step()
        except StopIteration as ended:
            self.done, self.value = True, ended.value


async def in_time(awaitable: Awaitable[T], seconds: float) -> T:
    """The value of `awaitable`. A timer is set only where it is not there at once.

    Raises:
        TimeoutError: it takes longer.
    """
    begun = Begun(awaitable)
    if begun.done:
        return begun.value
    async with asyncio.timeout(seconds):
        return await begun
