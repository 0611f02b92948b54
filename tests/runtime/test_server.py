"""How a service is served: health, reflection, addresses, TLS, the drain."""

import asyncio
import datetime
import ipaddress
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.runtime import channels
from services.runtime.channels import Tls
from services.runtime.server import Service, Serving, serving
from tests.runtime.echo import NAME, Echo, Stub, said

HERE = Serving("127.0.0.1:0", lame_duck_s=0.0, drain_s=1.0)
Health = health_pb2.HealthCheckResponse


@asynccontextmanager
async def channel_to(service: Service, where: Serving = HERE) -> AsyncIterator[Any]:
    async with serving(service, where) as address, channels.open(address) as channel:
        yield channel


async def test_reflection_lists_what_is_served() -> None:
    async with channel_to(Echo().service()) as channel:
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter([ask]))
        names = {one.name async for answer in answers for one in answer.list_services_response.service}
    assert {NAME, "grpc.health.v1.Health"} <= names


async def test_health_follows_readiness_and_the_drain() -> None:
    ready = asyncio.Event()
    service = replace(Echo().service(), ready=ready.is_set)
    async with serving(service, replace(HERE, lame_duck_s=0.3)) as address:
        channel = grpc.aio.insecure_channel(address)  # ours would heed the health that is asked about here
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert (await watch.read()).status == Health.NOT_SERVING
        ready.set()
        assert (await watch.read()).status == Health.SERVING
    assert (await watch.read()).status == Health.NOT_SERVING
    watch.cancel()
    await channel.close()


async def test_a_lame_duck_still_answers() -> None:
    async with serving(Echo().service(), replace(HERE, lame_duck_s=0.5)) as address:
        channel = grpc.aio.insecure_channel(address)
        stub = Stub(channel)
        await stub.unary(said("first"))

        async def ask_late() -> str:
            await asyncio.sleep(0.2)
            return str((await stub.unary(said("late"))).value)

        late = asyncio.create_task(ask_late())
    assert await late == "late"
    await channel.close()


async def test_a_lame_duck_stays_while_callers_have_not_seen_that_it_leaves() -> None:
    asked = 0
    async with serving(Echo().service(), replace(HERE, lame_duck_s=0.2)) as address:
        channel = grpc.aio.insecure_channel(address)  # heeds no health
        stub = Stub(channel)

        async def ask_on() -> None:
            nonlocal asked
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                await stub.unary(said("still here"))
                asked += 1
                await asyncio.sleep(0.02)

        asking = asyncio.create_task(ask_on())
        await asyncio.sleep(0)
    await asking
    assert asked > 5
    await channel.close()


async def test_a_caller_that_heeds_no_health_is_not_waited_for_without_end() -> None:
    where = replace(HERE, lame_duck_s=0.1)
    async with serving(Echo().service(), where) as address:
        channel = grpc.aio.insecure_channel(address)
        stub = Stub(channel)

        async def ask_for_ever() -> None:
            while True:
                await stub.unary(said("again"))

        asking = asyncio.create_task(ask_for_ever())
        await asyncio.sleep(0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asking
    assert caught.value.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    await channel.close()


async def test_a_taken_address_is_refused() -> None:
    async with serving(Echo().service(), HERE) as address:
        with pytest.raises(RuntimeError):
            async with serving(Echo().service(), replace(HERE, address=address)):
                pass


async def test_a_connection_that_sits_on_an_address_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, socket.socket() as outgoing:
        outgoing.bind(("127.0.0.1", 0))
        outgoing.connect(elsewhere.getsockname())
        outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no trace once it is closed
        address = f"127.0.0.1:{outgoing.getsockname()[1]}"
        asyncio.get_running_loop().call_later(0.5, outgoing.close)
        async with channel_to(Echo().service(), replace(HERE, address=address)) as channel:
            assert outgoing.fileno() < 0
            await Stub(channel).unary(said("hello"))


async def test_an_address_of_elsewhere_is_refused_at_once() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError):
            async with serving(Echo().service(), replace(HERE, address="192.0.2.1:50051", plain_text=True)):
                pass


async def test_a_taken_name_in_this_process_is_refused() -> None:
    async with serving(Echo().service(), HERE, inproc="same"):
        with pytest.raises(RuntimeError, match="same"):
            async with serving(Echo().service(), HERE, inproc="same"):
                pass


async def test_plain_text_beyond_this_machine_wants_a_word() -> None:
    with pytest.raises(ValueError, match="plain_text"):
        async with serving(Echo().service(), Serving("0.0.0.0:0")):
            pass
    with pytest.raises(ValueError, match="TLS"):
        channels.open("dns:///elsewhere:50051")


async def test_what_a_bug_says_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with channel_to(Echo().service()) as channel:
        with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError):
            await Stub(channel).unary(said("bug:hunter2"))
    assert "hunter2" not in " ".join(record.getMessage() for record in caplog.records)


async def test_tls_and_mutual_tls(tmp_path: Path) -> None:
    tls = certificates(tmp_path)
    async with serving(Echo().service(), replace(HERE, tls=tls)) as address:
        target = address.replace("127.0.0.1", "localhost")
        async with channels.open(target, tls) as channel:
            assert (await Stub(channel).unary(said("sealed"))).value == "sealed"
        async with channels.open(target, replace(tls, certificate="", key="")) as nameless:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Stub(nameless).unary(said("no certificate"), timeout=2.0)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def certificates(folder: Path) -> Tls:
    """An authority of the test's own, and one certificate for both sides."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])

    def made(subject: x509.Name, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(ca_key, hashes.SHA256())
        )

    own = made(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), own_key, False)
    files = Tls(str(folder / "own.pem"), str(folder / "own.key"), str(folder / "ca.pem"))
    Path(files.authority).write_bytes(made(issuer, ca_key, True).public_bytes(serialization.Encoding.PEM))
    Path(files.certificate).write_bytes(own.public_bytes(serialization.Encoding.PEM))
    Path(files.key).write_bytes(
        own_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files
