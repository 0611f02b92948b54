"""`tollway serve`: some of the services in one process, as a pod or a unit of systemd runs them."""

import asyncio
import os
import sys
from typing import Annotated

import typer
import uvloop

from services.mesh.plan import NotReady, Up
from services.mesh.screen import fail
from services.runtime import memory, notifying
from services.runtime.folders import FolderTaken
from services.runtime.server import Process, told_to_stop
from services.runtime.settings import BadSettings, load


def serve(
    services: Annotated[list[str], typer.Argument(help="Their names: guard, encoder, orchestrator, edge and so on.")],
    name: Annotated[str, typer.Option(help="What traces and metrics call this process.")] = "road",
) -> None:
    """Serves some of the services in one process, until it is told to stop.

    Each listens where its settings say. Among themselves they need no sockets: a call of one to another stays in the process,
    wherever the settings look for it.
    """
    from services.mesh import together

    if unknown := [one for one in services if one not in together.APPS]:
        fail(f"there is no service {', '.join(unknown)}: there are {', '.join(sorted(together.APPS))}")
    memory.opening()
    try:
        with load(Process, os.environ, "process").observed(f"tollway-{name}"):
            uvloop.run(_serving(services))
    except BadSettings as fault:
        sys.exit(f"settings: {fault}")
    except (FolderTaken, OSError, RuntimeError, ValueError, NotReady) as fault:
        sys.exit(str(fault))


async def _serving(services: list[str]) -> None:
    from services.mesh import together

    stop, up = asyncio.create_task(told_to_stop()), asyncio.Event()

    async def stopped(ups: list[Up]) -> None:
        up.set()
        notifying.ready()
        await stop

    work = asyncio.ensure_future(together.run(os.environ, together.log_up, stopped, frozenset(services)))
    await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
    if not up.is_set() and work.cancel():  # told to stop while it still starts: nobody is served yet
        await asyncio.wait([work])
        return
    await work
