"""Certificates change under a running service and its callers: no restart, no failed call."""

import asyncio
from pathlib import Path

import grpc
import pytest

from services.mesh.certificates import authority
from services.runtime import channels
from services.runtime.channels import Tls
from services.runtime.rotating import LOOKS_EVERY_S
from services.runtime.server import Serving, serving
from tests.runtime.echo import Echo, Stub, said


def issued(folder: Path, days: float = 1.0) -> tuple[Tls, Tls]:
    signer = authority(folder)
    return signer.issue("server", (), days), signer.issue("client", (), days)


async def test_a_new_authority_and_new_certificates_without_a_restart(tmp_path: Path) -> None:
    server, client = issued(tmp_path)
    async with serving(Echo().service(), Serving("127.0.0.1:0", tls=server, lame_duck_s=0.0)) as address:
        async with channels.open(address, client) as channel:
            stub = Stub(channel)
            assert (await stub.unary(said("before"))).value == "before"
            under_way = stub.unary(said("sleep:1.5"))
            before = (tmp_path / "client.pem").read_bytes(), (tmp_path / "client.key").read_bytes()
            (tmp_path / "ca.key").unlink()
            issued(tmp_path)
            await asyncio.sleep(LOOKS_EVERY_S)
            assert (await stub.unary(said("after"))).value == "after"
            assert (await under_way).value == "sleep:1.5"
        for name, content in zip(("old.pem", "old.key"), before, strict=True):
            (tmp_path / name).write_bytes(content)
        old = Tls(str(tmp_path / "old.pem"), str(tmp_path / "old.key"), client.authority)
        async with channels.open(address, old) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Stub(channel).unary(said("of the authority before"), timeout=5.0)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_half_of_a_rotation_is_waited_out(tmp_path: Path) -> None:
    server, client = issued(tmp_path)
    async with (
        serving(Echo().service(), Serving("127.0.0.1:0", tls=server, lame_duck_s=0.0)) as address,
        channels.open(address, client) as channel,
    ):
        stub = Stub(channel)
        assert (await stub.unary(said("whole"))).value == "whole"
        Path(client.key).unlink()
        await asyncio.sleep(LOOKS_EVERY_S)
        assert (await stub.unary(said("half"))).value == "half"
        issued(tmp_path)
        await asyncio.sleep(LOOKS_EVERY_S)
        assert (await stub.unary(said("whole again"))).value == "whole again"
