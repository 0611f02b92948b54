"""Generations that are open, each in a task of its own from opening to closing."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from services.retrieval.generations import Generation

Opens = Callable[[str], AbstractAsyncContextManager[Generation]]
"""Opens the generation of a name."""


class GenerationUnknown(KeyError):
    """The settings name no such generation."""


@dataclass(slots=True)
class _Held:
    stop: asyncio.Event
    task: "asyncio.Task[None]"


@dataclass(slots=True)
class Shelf:
    opens: Opens
    _held: dict[str, _Held] = field(default_factory=dict)

    async def open(self, name: str) -> Generation:
        """
        Raises:
            GenerationUnknown, StoreAway
        """
        stop, up = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def hold() -> None:
            try:
                async with self.opens(name) as generation:
                    up.set_result(generation)
                    await stop.wait()
            except BaseException as error:
                if not up.done():
                    up.set_exception(error)
                    return
                raise

        task = asyncio.create_task(hold())
        try:
            found: Generation = await asyncio.shield(up)
        except asyncio.CancelledError:  # nobody else knows of it
            task.cancel()
            raise
        self._held[name] = _Held(stop, task)
        return found

    async def close(self, name: str) -> None:
        if (held := self._held.pop(name, None)) is not None:
            held.stop.set()
            await held.task

    async def close_all(self) -> None:
        for name in list(self._held):
            await self.close(name)

    async def watch(self) -> None:
        """Raises what a generation broke on; until cancelled."""
        while True:
            tasks = [held.task for held in self._held.values()]
            done, _ = await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if task in [held.task for held in self._held.values()]:
                    await task
