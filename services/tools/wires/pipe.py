"""MCP over standard input and output: the server is a process of ours, and a line is a message."""

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.runtime.children import Child
from services.runtime.secrets import Secrets
from services.tools import faults
from services.tools.wires import messages
from services.tools.wires.messages import Message

log = logging.getLogger(__name__)

LARGEST_LINE = 16 << 20
PASSED_ON = ("PATH", "HOME", "LANG")
"""Of our own environment; the rest may hold secrets of the mesh."""
AGAIN_S = 1.0
"""A process that ended is not started again sooner."""
ENDS_S = 2.0
"""Between closing its input, ending it and killing it."""


@dataclass(slots=True)
class _Running:
    child: Child
    writer: asyncio.StreamWriter
    reading: "asyncio.Task[None]"


@dataclass(slots=True)
class Pipe:
    name: str
    """The server's, in the mesh."""
    command: tuple[str, ...]
    secrets: Secrets
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: str = ""
    _running: _Running | None = None
    _began: float = -AGAIN_S
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: dict[int, "asyncio.Future[Message]"] = field(default_factory=dict)

    async def ask(self, message: Message, version: str, within_s: float, about: dict[str, str]) -> Message:
        number: int = message["id"]
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        waits = False
        try:
            async with asyncio.timeout(within_s):
                await self._send(message, version)
                waits = True
                found = await answer
                waits = False
                return found
        except TimeoutError:
            raise faults.ServerSlow(server=self.name, seconds=within_s) from None
        finally:
            del self._waiting[number]
            if waits:
                self._say(messages.notification("notifications/cancelled", {"requestId": number}))

    async def tell(self, message: Message, version: str) -> None:
        await self._send(message, version)

    def forget(self) -> None:
        """A process remembers for as long as it lives."""

    async def close(self) -> None:
        """Closes its input, which says that it may go; one that stays is ended."""
        running, self._running = self._running, None
        if running is None:
            return
        running.writer.close()
        if not await _ended(running.child):
            running.child.terminate()
            if not await _ended(running.child):
                running.child.kill()
                await running.child.wait()
        running.reading.cancel()
        await asyncio.gather(running.reading, return_exceptions=True)

    async def _send(self, message: Message, version: str) -> None:
        """
        Raises:
            SessionOver: the process that `version` was agreed with is gone.
            ServerAway: there is none, and it cannot be started now.
        """
        async with self._starting:
            if self._running is None:
                if version and message["method"] not in ("initialize", "server/discover"):
                    raise faults.SessionOver
                self._running = await self._started()
            running = self._running
        self._say(message)
        try:
            await running.writer.drain()
        except (ConnectionError, RuntimeError) as error:
            raise faults.ServerBroke(server=self.name, why=type(error).__name__) from None

    def _say(self, message: Message) -> None:
        if self._running is not None:
            self._running.writer.write(orjson.dumps(message) + b"\n")

    async def _started(self) -> _Running:
        if time.monotonic() - self._began < AGAIN_S:
            raise faults.ServerAway(server=self.name, why="it has just ended")
        self._began = time.monotonic()
        environ = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        for name, reference in self.environment.items():
            environ[name] = await self.secrets.read(reference)
        try:
            child = Child.start(
                *self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                environ=environ,
                folder=Path(self.folder) if self.folder else None,
                session=True,
            )
        except OSError as error:
            raise faults.ServerAway(server=self.name, why=f"{self.command[0]}: {error.strerror}") from None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LARGEST_LINE)
        source, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), child.process.stdout)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, child.process.stdin)
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        return _Running(child, writer, asyncio.create_task(self._read(reader, source, child)))

    async def _read(self, reader: asyncio.StreamReader, source: asyncio.ReadTransport, child: Child) -> None:
        why = "it ended"
        try:
            while line := await reader.readline():
                self._heard(line)
        except ValueError:
            why = f"a line of more than {LARGEST_LINE} bytes"
        except ConnectionError as error:
            why = type(error).__name__
        finally:
            source.close()
        child.kill()
        code = await child.wait()
        if self._running is not None and self._running.child is child:
            self._running.writer.close()
            self._running = None
            log.warning("the MCP server %s: %s (%d)", self.name, why, code)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(faults.ServerBroke(server=self.name, why=why))

    def _heard(self, line: bytes) -> None:
        try:
            found: Any = orjson.loads(line)
        except orjson.JSONDecodeError:  # a stray print, as servers that are new to this have them
            log.debug("the MCP server %s wrote a line that is no message", self.name)
            return
        if messages.asks(found):
            self._say(messages.reply(found))
        elif isinstance(found, dict) and isinstance(found.get("id"), int):
            waiting = self._waiting.get(found["id"])
            if waiting is not None and not waiting.done():
                waiting.set_result(found)


async def _ended(child: Child) -> bool:
    try:
        async with asyncio.timeout(ENDS_S):
            await child.wait()
    except TimeoutError:
        return False
    return True
