"""A folder that one process has to itself: stores that run in a process cannot be shared."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAYLOADS = "segments/*/payload_storage/*.dat"
"""Where Qdrant's engine keeps what points say. It lets go of these pages whenever it opens a shard."""
PIECE = 1 << 20


class FolderTaken(OSError):
    """Another process works in the folder."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a lock beside `folder` for as long as the block lasts; the system drops it with the process.

    Raises:
        FolderTaken
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderTaken(
                f"{folder}: another process has it; a store in the service's own process serves a single replica"
            ) from None
        yield
    finally:
        os.close(held)


def read_ahead(folder: Path, pattern: str = PAYLOADS) -> int:
    """Reads files into the system's cache of pages, so that who asks for one does not wait for the disk; how many bytes. The system
    drops them again where memory is wanted for something else.
    """
    told = 0
    for file in sorted(folder.glob(pattern)):
        with suppress(OSError), file.open("rb", buffering=0) as pages:  # the folder may go meanwhile
            while piece := pages.read(PIECE):
                told += len(piece)
    return told


def reading_ahead(folder: Path) -> None:
    """The same, while others go on."""
    threading.Thread(target=read_ahead, args=(folder,), name="read-ahead", daemon=True).start()
