"""Every service of a mesh under mutual TLS turns away whoever it cannot know."""

import asyncio
import datetime
import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import jwt
import pytest
import yaml

from services.ledger.keys import Signer
from services.ledger.postgres import PostgresStore
from services.mesh.certificates import authority
from services.mesh.plan import PORTS
from services.runtime import channels
from services.runtime.channels import Tls
from services.runtime.identity import AUDIENCE
from services.runtime.status import info_of
from tests.mesh.running import Mesh, free_row, running
from tests.peers.provider import provider

PACKAGES = {"orchestrator": "gateway"}
"""Contracts that are not named for their service."""
PUBLIC = ("Authenticate", "ListSigningKeys", "ListPrices")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with provider() as peer, running(peer, "--split", "--tls", f"--grpc-port={free_row()}") as made:
        yield made


def own(mesh: Mesh) -> Tls:
    return Tls(**{name: str(mesh.state / "tls" / file) for name, file in
                  (("certificate", "client.pem"), ("key", "client.key"), ("authority", "ca.pem"))})  # fmt: skip


async def called(mesh: Mesh, service: str, tls: Tls, token: str = "") -> grpc.aio.AioRpcError | None:
    """One call that wants an identity, with an empty request: what becomes of it."""
    package = PACKAGES.get(service, service)
    contract: Any = importlib.import_module(f"tollway.{package}.v1.{package}_pb2")
    described = contract.DESCRIPTOR.services_by_name[f"{package.title()}Service"]
    method = next(
        one for one in described.methods if not (one.client_streaming or one.server_streaming or one.name in PUBLIC)
    )
    async with channels.open(mesh.services[service], tls) as channel:
        stub = getattr(importlib.import_module(f"tollway.{package}.v1.{package}_pb2_grpc"), f"{described.name}Stub")
        request = getattr(contract, method.input_type.name)()
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            await getattr(stub(channel), method.name)(request, metadata=metadata, timeout=10.0)
        except grpc.aio.AioRpcError as error:
            return error
    return None


def code(error: grpc.aio.AioRpcError | None) -> grpc.StatusCode:
    return grpc.StatusCode.OK if error is None else error.code()


@pytest.mark.parametrize("service", PORTS)
async def test_without_a_certificate(mesh: Mesh, service: str) -> None:
    error = await called(mesh, service, replace(own(mesh), certificate="", key=""), mesh.key)
    assert code(error) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("service", PORTS)
async def test_with_an_expired_certificate(mesh: Mesh, service: str, tmp_path: Path) -> None:
    past = authority(mesh.state / "tls").issue(f"late-{service}", (), -0.001)
    assert code(await called(mesh, service, past, mesh.key)) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("service", PORTS)
async def test_with_a_certificate_of_another_authority(mesh: Mesh, service: str, tmp_path: Path) -> None:
    made = authority(tmp_path).issue("client", (), 1)
    stranger = replace(made, authority=own(mesh).authority)
    assert code(await called(mesh, service, stranger, mesh.key)) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("service", PORTS)
async def test_with_a_token_of_another_audience(mesh: Mesh, service: str) -> None:
    """The same key signs two tokens that differ in their audience alone."""
    signer = Signer()
    database = yaml.safe_load((mesh.state / "mesh.yaml").read_text())["ledger"]["database_url"]
    now = datetime.datetime.now(datetime.UTC)
    async with asyncpg.create_pool(database, min_size=1, max_size=1, server_settings={"search_path": "ledger"}) as pool:
        await PostgresStore(pool).publish_signing_key(signer.key_id, signer.public, now + datetime.timedelta(hours=1))

    def token(audience: str) -> str:
        claims = {"sub": "key_1", "tenant": "acme", "account": "acme/app", "admin": True, "aud": audience,
                  "iat": now, "exp": now + datetime.timedelta(seconds=60)}  # fmt: skip
        return jwt.encode(claims, signer.private, algorithm="EdDSA", headers={"kid": signer.key_id})

    refused = await called(mesh, service, own(mesh), token("elsewhere"))
    assert refused is not None and refused.code() is grpc.StatusCode.UNAUTHENTICATED
    assert info_of(refused).reason == "TOKEN_REFUSED"
    good = await called(mesh, service, own(mesh), token(AUDIENCE))
    assert code(good) is not grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("service", PORTS)
async def test_plain_text_is_not_spoken(mesh: Mesh, service: str) -> None:
    assert code(await called(mesh, service, Tls(), mesh.key)) is grpc.StatusCode.UNAVAILABLE


async def test_certificates_are_rotated_under_the_running_mesh(mesh: Mesh) -> None:
    before = (mesh.state / "tls" / "guard.pem").read_bytes()
    command = [sys.executable, "-m", "services.mesh", "certs", str(mesh.state / "tls")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True, timeout=60)
    assert str(mesh.state / "tls" / "guard.pem") in done.stdout
    assert (mesh.state / "tls" / "guard.pem").read_bytes() != before
    assert "serving" in mesh.tollway("doctor").stderr
