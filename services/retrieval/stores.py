"""Opens the store that a URL names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.retrieval.catalogue import Heads
from services.retrieval.edge import EdgeStore
from services.retrieval.store import Store
from services.runtime.background import running
from services.runtime.folders import alone

EDGE = "edge:"


def single(url: str) -> bool:
    """Whether it serves one replica alone."""
    return url.startswith(EDGE) or "://" not in url


@asynccontextmanager
async def opened(url: str, key: str, heads: Heads) -> AsyncIterator[Store]:
    """`edge:FOLDER`, or a folder's name alone, for Qdrant's engine in this process."""
    folder = Path(url.removeprefix(EDGE))
    with alone(folder):
        store = EdgeStore(folder)
        store.open()
        try:
            async with running(store.run()):
                yield store
        finally:
            store.close()
