"""The ledger of a running mesh, for the commands that administer it."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from services.mesh import running
from services.runtime import channels
from services.runtime.channels import Tls

DEVELOPMENT = "dev/playground"
"""Account of the key that a fresh mesh makes."""


class Administered:
    """The ledger's stub, every call under the administrator's key."""

    def __init__(self, stub: ledger_pb2_grpc.LedgerServiceStub, key: str) -> None:
        self.stub = stub
        self.metadata = running.bearing(key)


@asynccontextmanager
async def opened(state: Path) -> AsyncIterator[Administered]:
    """The ledger that `TOLLWAY_ADMIN_TARGET` names, under `TOLLWAY_ADMIN_KEY`; of the mesh on `state` without them.

    Raises:
        NotUp
    """
    target, key = os.environ.get("TOLLWAY_ADMIN_TARGET", ""), os.environ.get("TOLLWAY_ADMIN_KEY", "")
    if target:
        opening = channels.open(target, client_certificate(os.environ))
    else:
        opening, key = running.running(state).channel("ledger"), running.admin_key(state)
    async with opening as channel:
        yield Administered(ledger_pb2_grpc.LedgerServiceStub(channel), key)


def client_certificate(environ: Mapping[str, str]) -> Tls:
    """Files that `TOLLWAY_TLS_CERTIFICATE`, `_KEY` and `_AUTHORITY` name."""
    return Tls(*(environ.get(f"TOLLWAY_TLS_{name}", "") for name in ("CERTIFICATE", "KEY", "AUTHORITY")))


async def development_key(state: Path, address: str, tls: Tls) -> str:
    """The key in `STATE/dev.key`; made anew when there is none or the ledger does not know it."""
    file = running.dev_key_file(state)
    async with channels.open(address, tls) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        if file.exists() and await _good(stub, key := file.read_text().strip()):
            return key
        made = await stub.CreateKey(
            pb.CreateKeyRequest(account=DEVELOPMENT, name="development"),
            metadata=running.bearing(running.admin_key(state)),
            timeout=10.0,
        )
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(f"{made.secret}\n")
    return made.secret


async def _good(stub: ledger_pb2_grpc.LedgerServiceStub, key: str) -> bool:
    try:
        await stub.Authenticate(pb.AuthenticateRequest(api_key=key), timeout=10.0)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return False
    return True
