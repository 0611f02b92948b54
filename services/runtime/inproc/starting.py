"""Starts at a loop's next turn what nobody has started by then: one callback a turn, however many wait."""

import asyncio
from typing import Protocol

from services.runtime.loops import PerLoop


class Startable(Protocol):
    waits: bool
    """Whether it has not begun yet."""

    def start(self) -> None: ...


class _Turn:
    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Startable] = []

    def come(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if one.waits:
                one.start()


_turns = PerLoop(_Turn)


def start_later(loop: asyncio.AbstractEventLoop, one: Startable) -> None:
    turn = _turns.of(loop)
    if not turn.waiting:
        loop.call_soon(turn.come)
    turn.waiting.append(one)
