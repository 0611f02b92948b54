"""Opens the store that a URL names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from services.retrieval.catalogue import Heads
from services.retrieval.edge import EdgeStore
from services.retrieval.engines import Snapshot
from services.retrieval.payload import DENSE
from services.retrieval.store import Store
from services.runtime.background import running
from services.runtime.folders import alone

EDGE, MILVUS, PINECONE = "edge:", "milvus:", "pinecone:"


def single(url: str) -> bool:
    """Whether it serves one replica alone."""
    return url.startswith(EDGE) or not (url.startswith((MILVUS, PINECONE)) or "://" in url)


@asynccontextmanager
async def opened(url: str, key: str, heads: Heads, dimensions: int = DENSE, label: str = "") -> AsyncIterator[Store]:
    """`edge:FOLDER` or a folder alone, `http://HOST:6334`, `milvus:http://HOST:19530` or `milvus:FILE.db`, `pinecone:STATIC_HOST,DENSE_HOST`.

    `dimensions` are those of dense vectors; a `label` tells the collections of one server apart.

    Raises:
        StoreAway
    """
    if single(url):
        folder = Path(url.removeprefix(EDGE))
        with alone(folder):
            store = EdgeStore(folder, dimensions)
            store.open()
            try:
                async with running(store.run()):
                    yield store
            finally:
                store.close()
    elif url.startswith(MILVUS):
        from pymilvus import MilvusClient

        from services.retrieval.engines.milvus import MilvusEngine

        client = await asyncio.to_thread(MilvusClient, url.removeprefix(MILVUS), token=key)
        milvus = MilvusEngine(client, "_".join(filter(None, ("tollway_retrieval", label))), dimensions)
        try:
            await milvus.open()
            yield Snapshot(milvus, heads)
        finally:
            client.close()
    elif url.startswith(PINECONE):
        from pinecone import AsyncIndex

        from services.retrieval.engines.pinecone import PineconeEngine

        static, _, dense = url.removeprefix(PINECONE).partition(",")
        async with AsyncIndex(host=static, api_key=key) as one, AsyncIndex(host=dense, api_key=key) as other:
            yield Snapshot(PineconeEngine(one, other), heads)
    else:
        from qdrant_client import AsyncQdrantClient

        from services.retrieval.engines.qdrant import QdrantEngine

        parts = urlsplit(url)
        qdrant = AsyncQdrantClient(
            host=parts.hostname, grpc_port=parts.port or 6334, prefer_grpc=True, https=parts.scheme == "https",
            api_key=key or None,
        )  # fmt: skip
        engine = QdrantEngine(qdrant, "-".join(filter(None, ("tollway-retrieval", label))), dimensions)
        try:
            await engine.open()
            yield Snapshot(engine, heads)
        finally:
            await qdrant.close()
