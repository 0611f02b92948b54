"""Reads what passages say into the system's cache of files: the engine lets go of it whenever a shard is opened, and then a search
waits for the disk once for each passage that it gives."""

import contextlib
import threading
from pathlib import Path

PIECE = 1 << 20


def warm(shard: Path) -> None:
    """All of the passages' payloads; the system drops them again where memory is wanted for something else."""
    for file in sorted(shard.glob("segments/*/payload_storage/*.dat")):
        with contextlib.suppress(OSError), file.open("rb", buffering=0) as pages:  # the shard may go meanwhile
            while pages.read(PIECE):
                pass


def warming(shard: Path) -> None:
    """The same, while others go on."""
    threading.Thread(target=warm, args=(shard,), name="retrieval-warming", daemon=True).start()
