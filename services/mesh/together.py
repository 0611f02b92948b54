"""Services in one process, all or some: each in a task of its own, started tier by tier, stopped the other way."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from services.cache import app as cache
from services.edge import app as edge
from services.edge.server import serving as serving_http
from services.encoder import app as encoder
from services.guard import app as guard
from services.jobs import app as jobs
from services.ledger import app as ledger
from services.mesh.plan import CALLS, READY_WITHIN_S, TIERS, NotReady, Told, Up
from services.models import app as models
from services.orchestrator import app as orchestrator
from services.registry import app as registry
from services.retrieval import app as retrieval
from services.router import app as router
from services.runtime import memory
from services.runtime.server import serving
from services.runtime.settings import load
from services.tools import app as tools

log = logging.getLogger(__name__)

APPS: Mapping[str, Any] = {
    "cache": cache,
    "edge": edge,
    "encoder": encoder,
    "guard": guard,
    "jobs": jobs,
    "ledger": ledger,
    "models": models,
    "orchestrator": orchestrator,
    "registry": registry,
    "retrieval": retrieval,
    "router": router,
    "tools": tools,
}


@dataclass(slots=True)
class Member:
    """One service, from opening to closing in one task, as its context managers need it."""

    name: str
    settings: Any
    leaving: asyncio.Event
    """All services say at once that they will be gone, and then stop in their order."""
    up: "asyncio.Future[Up]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        try:
            async with self._opened() as up:
                self.up.set_result(up)
                await self.stop.wait()
        finally:
            self.up.cancel()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Up]:
        opened: AbstractAsyncContextManager[Any] = APPS[self.name].app(self.settings)
        async with opened as made:
            if self.name == "edge":
                async with serving_http(made, self.settings.listen) as address:
                    yield Up(self.name, address, "OpenAI-compatible HTTP")
                return
            async with serving(made, self.settings.serve, self.name, self.leaving) as address:
                await _ready(self.name, made.ready)
                yield Up(self.name, address, made.backend)


async def _ready(name: str, ready: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while not ready():  # noqa: ASYNC110 - a plain question, asked of any service
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise NotReady(f"{name} is not ready after {READY_WITHIN_S:.0f} s") from None


def log_up(up: Up) -> None:
    log.info("%s serves on %s, backend %s", up.name, up.address, up.backend)


async def run(
    environ: Mapping[str, str],
    told: Told,
    stopped: Callable[[list[Up]], Awaitable[None]],
    names: Collection[str] = frozenset(APPS),
) -> None:
    """Runs the services of `names` that `environ` describes until `stopped` returns; it is given what serves.

    Raises:
        BadSettings: before anything is opened.
        NotReady, OSError, ...: what a service could not be opened for; those opened before are closed.
    """
    leaving = asyncio.Event()
    members = [
        [Member(name, _settings(name, environ, names), leaving) for name in tier if name in names] for tier in TIERS
    ]
    begun: list[list[asyncio.Task[None]]] = []
    ups: list[Up] = []
    waiting: asyncio.Task[None] | None = None
    try:
        for tier in members:
            tasks = [asyncio.create_task(member.run()) for member in tier]
            begun.append(tasks)
            for member, task in zip(tier, tasks, strict=True):
                both: list[asyncio.Future[Any]] = [member.up, task]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    task.result()
                ups.append(member.up.result())
                told(ups[-1])
        memory.settled()
        waiting = asyncio.ensure_future(stopped(ups))
        everything: set[asyncio.Future[Any]] = {waiting, *(task for tasks in begun for task in tasks)}
        done, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:  # a service that ends by itself ends the mesh, with its own words
            ended.result()
    finally:
        if waiting is not None:
            waiting.cancel()
        leaving.set()
        for tier, tasks in zip(reversed(members[: len(begun)]), reversed(begun), strict=True):
            for member, task in zip(tier, tasks, strict=True):
                member.stop.set()
                if not member.up.done():  # it still opens, and what it waits for may never come
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _settings(name: str, environ: Mapping[str, str], names: Collection[str]) -> Any:
    """As `environ` says, and those that run beside it are called without a socket."""
    said = load(APPS[name].Settings, environ, name)
    return replace(said, **{peer: f"inproc:{peer}" for peer in CALLS[name] if peer in names})
