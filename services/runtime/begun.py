"""Begins to wait without a task: what is there already is had at once, and what is not can tell when it comes."""

from collections.abc import Awaitable, Callable, Generator
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
        self._step()

    def __await__(self) -> Generator[Any, Any, T]:
        if self.done:
            return self.value
        try:
            yield self._waited
        except BaseException:
            self._steps.close()
            raise
        return (yield from self._steps)

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
            self._step()
            self.tell(tell)

    def _step(self) -> None:
        try:
            self._waited: Any = next(self._steps)
        except StopIteration as ended:
            self.done, self.value = True, ended.value
