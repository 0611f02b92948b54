"""Keeps a child process that reads files: one that hangs or breaks is killed, and the file at fault is told."""

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field

from services.retrieval.chunks import Shape
from services.retrieval.formats import Text, Unreadable, read, simple

LONGEST_S = 60.0


@dataclass(slots=True)
class Aside:
    longest_s: float = LONGEST_S
    _child: asyncio.subprocess.Process | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, media_type: str, content: bytes) -> Text:
        """What needs no library is read at once.

        Raises:
            Unreadable
        """
        if simple(media_type):
            return read(media_type, content)
        async with self._lock:
            try:
                async with asyncio.timeout(self.longest_s):
                    said = json.loads(await self._asked(media_type.encode(), content))
            except BaseException as error:  # a child that was left in the middle of a file cannot read another
                await self._end()
                if isinstance(error, TimeoutError):
                    raise Unreadable(f"it was not read within {self.longest_s:.0f} s") from None
                if isinstance(error, OSError | asyncio.IncompleteReadError):
                    raise Unreadable("its reader broke down") from None
                raise
        if "fault" in said:
            raise Unreadable(said["fault"])
        return Text(said["text"], Shape(said["shape"]), said["title"])

    async def close(self) -> None:
        async with self._lock:
            await self._end()

    async def _asked(self, *frames: bytes) -> bytes:
        child = self._child or await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.retrieval.formats.child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._child = child
        assert child.stdin is not None and child.stdout is not None
        for one in frames:
            child.stdin.write(len(one).to_bytes(4, "big") + one)
        await child.stdin.drain()
        return await child.stdout.readexactly(int.from_bytes(await child.stdout.readexactly(4), "big"))

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
