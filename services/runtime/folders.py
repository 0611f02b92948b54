"""A folder that one process has to itself: stores that run in a process cannot be shared."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
