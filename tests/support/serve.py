"""Serves one service the way every transport does."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import grpc

from services.runtime import channels
from services.runtime.server import Service, Serving, serving

TRANSPORTS = ("inproc", "unix", "tcp")


@asynccontextmanager
async def channel_to(service: Service, transport: str, drain_s: float = 1.0) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `service`, served for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        name = f"test-{uuid4().hex}"
        address = f"unix:{Path(folder) / 's'}" if transport == "unix" else "127.0.0.1:0"
        async with serving(service, Serving(address, lame_duck_s=0.0, drain_s=drain_s), inproc=name) as served:
            target = f"inproc:{name}" if transport == "inproc" else served
            async with channels.open(target) as channel:
                yield channel
