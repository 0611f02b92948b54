"""Keeps a child process that reads files: one that hangs or breaks is killed, and the file at fault is told."""

import asyncio
import json
import socket
import sys
from dataclasses import dataclass, field
from subprocess import DEVNULL

from services.retrieval.chunks import Shape
from services.retrieval.formats import Text, Unreadable, read, simple
from services.runtime.children import Child

LONGEST_S = 60.0
TRIES = 2
"""A child may have been ended by somebody else, which is no fault of the file it has to read next."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The child, and both ends of our talk with it."""

    child: Child
    said: asyncio.StreamReader
    asked: asyncio.StreamWriter

    @classmethod
    async def start(cls) -> "Reader":
        ours, its = socket.socketpair()
        with its:
            child = Child.start(
                sys.executable, "-m", "services.retrieval.formats.child",
                stdin=its.fileno(), stdout=its.fileno(), stderr=DEVNULL,
            )  # fmt: skip
        return cls(child, *await asyncio.open_unix_connection(sock=ours))

    async def read(self, *frames: bytes) -> bytes:
        if self.asked.is_closing():
            raise ConnectionResetError
        for one in frames:
            self.asked.write(len(one).to_bytes(4, "big") + one)
        await self.asked.drain()
        return await self.said.readexactly(int.from_bytes(await self.said.readexactly(4), "big"))

    async def end(self) -> None:
        self.asked.close()
        self.child.kill()
        await self.child.wait()


@dataclass(slots=True)
class Aside:
    longest_s: float = LONGEST_S
    reader: Reader | None = None
    """Once there was a file to read."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, media_type: str, content: bytes) -> Text:
        """What needs no library is read at once.

        Raises:
            Unreadable
        """
        if simple(media_type):
            return read(media_type, content)
        async with self._lock:
            said = json.loads(await self._asked(media_type.encode(), content))
        if "fault" in said:
            raise Unreadable(said["fault"])
        return Text(said["text"], Shape(said["shape"]), said["title"])

    async def close(self) -> None:
        async with self._lock:
            await self._end()

    async def _asked(self, *frames: bytes) -> bytes:
        for _ in range(TRIES):
            said: bytes | None = None
            try:
                async with asyncio.timeout(self.longest_s):
                    self.reader = self.reader or await Reader.start()
                    said = await self.reader.read(*frames)
                return said
            except TimeoutError:
                raise Unreadable(f"it was not read within {self.longest_s:.0f} s") from None
            except (OSError, asyncio.IncompleteReadError):
                continue
            finally:
                if said is None:  # a child that was left in the middle of a file cannot read another
                    await self._end()
        raise Unreadable("its reader broke down")

    async def _end(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            await reader.end()
