"""A log of decisions, for replay: what was known and what was chosen, never what was asked.

One JSON object a line. Lines are written in the background, a file a run and a few megabytes; of the files of all runs
the newest are kept. A reader sees whole lines alone.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)

FILE_BYTES, MOST_FILES = 8 << 20, 8
EVERY_S = 1.0
MOST_WAITING = 20_000


@dataclass(slots=True)
class Journal:
    folder: Path
    lost: int = 0
    """Decisions that were not logged since more came than the disk took."""
    _waiting: list[dict[str, Any]] = field(default_factory=list)
    _file: Path | None = None
    _size: int = 0
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def note(self, entry: dict[str, Any]) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(entry)
        else:
            self.lost += 1

    async def run(self) -> None:
        """Until cancelled; what waits then is written."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                if self._waiting:
                    await asyncio.to_thread(self._append, self._taken())
        finally:
            self.write()

    def write(self) -> None:
        """Writes everything that waits."""
        self._append(self._taken())

    def _taken(self) -> list[dict[str, Any]]:
        """What waits; called where entries are noted, so that none comes in between."""
        entries, self._waiting = self._waiting, []
        return entries

    def _append(self, entries: list[dict[str, Any]]) -> None:
        """A full disk costs entries, never a decision."""
        with self._writing:
            self._appended(entries)

    def _appended(self, entries: list[dict[str, Any]]) -> None:
        data = b"".join(orjson.dumps(one) + b"\n" for one in entries)
        if not data:
            return
        try:
            if self._file is None or self._size + len(data) > FILE_BYTES:
                self._next()
            assert self._file is not None
            with self._file.open("ab") as out:
                out.write(data)
            self._size += len(data)
        except OSError as error:
            self.lost += len(entries)
            log.warning("%d decisions are not logged: %s", len(entries), error.strerror)

    def entries(self, tenant: str, since: float) -> Iterator[dict[str, Any]]:
        """A tenant's that are written, oldest first. `since` in seconds since the epoch."""
        for file in self._files():
            with contextlib.suppress(FileNotFoundError), file.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        found = orjson.loads(line)
                        if found["tenant"] == tenant and found["at"] >= since:
                            yield found

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def _next(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file, self._size = self.folder / f"{time.time_ns():020d}-{os.getpid()}.jsonl", 0
        for old in self._files()[: -(MOST_FILES - 1)]:
            old.unlink(missing_ok=True)
