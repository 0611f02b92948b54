"""Runs a coroutine inside the awaiting task, yet in a context of its own."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any


def driven(
    coroutine: Coroutine[Any, Any, Any], context: Context, then: Callable[[], Any] | None = None
) -> Generator[Any, Any, Any]:
    """Drives `coroutine` step by step in `context`; what `then` returns, called outside of it, stands for its value.

    A new task costs ten times as much. What a task would give is kept: the two sides share no context
    variable. What it would not: `asyncio.current_task()` inside is the caller's, so that cancelling the
    caller cancels the work.
    """
    run, send = context.run, coroutine.send
    try:
        waiting = run(send, None)
        while True:
            try:
                yield waiting
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed on into the coroutine, whatever it is
                waiting = run(coroutine.throw, error)
            else:
                waiting = run(send, None)
    except StopIteration as done:
        value = done.value
    return value if then is None else then()


class Driven:
    """The same, to be awaited."""

    __slots__ = ("_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        self._coroutine, self._context = coroutine, context

    def __await__(self) -> Generator[Any, Any, Any]:
        return driven(self._coroutine, self._context)
