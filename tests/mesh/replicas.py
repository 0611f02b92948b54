"""A mesh of services that were started by their own words, most of them twice."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh import embedded
from services.mesh.plan import CALLS, PORTS, TIERS, merged
from tests.mesh.running import MODELS, free_row
from tests.peers.collector import Collector, collector
from tests.peers.provider import Provider, provider

TWICE = ("ledger", "guard", "encoder", "models", "router", "orchestrator")
ADMIN = "tw_admin_of_the_replicas_test_0123456789"
Servers = Callable[[Path], AbstractContextManager[tuple[str, str]]]
PRICES = {name: {"input": "1", "output": "2"} for name in MODELS}


@dataclass(slots=True)
class Apart:
    """Stands for a mesh where `sent` asks one."""

    url: str
    key: str
    folder: Path
    config: Path
    ports: dict[str, list[int]]
    spans: Collector
    processes: dict[str, list["subprocess.Popen[bytes]"]] = field(default_factory=dict)

    def start(self, name: str, which: int) -> "subprocess.Popen[bytes]":
        environ = {**os.environ, "TOLLWAY_CONFIG": str(self.config)}
        if name != "edge":
            environ[f"TOLLWAY_{name.upper()}__SERVE__ADDRESS"] = f"127.0.0.1:{self.ports[name][which]}"
        with (self.folder / f"{name}-{which}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", f"services.{name}"], env=environ, stdout=log, stderr=log)

    def healthy(self, name: str, which: int) -> None:
        until = time.monotonic() + 60
        while not (_ready(self.url) if name == "edge" else _serves(self.ports[name][which])):
            assert time.monotonic() < until, (self.folder / f"{name}-{which}.log").read_text()[-2000:]
            time.sleep(0.05)

    def tollway(self, *arguments: str) -> str:
        admin = {"TOLLWAY_ADMIN_TARGET": f"127.0.0.1:{self.ports['ledger'][0]}", "TOLLWAY_ADMIN_KEY": ADMIN}
        command = [sys.executable, "-m", "services.mesh", *arguments]
        return subprocess.run(
            command, env={**os.environ, **admin}, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()


def settings(
    ports: dict[str, list[int]], edge: int, database: str, broker: str, state: Path, peer: Provider, spans: str
) -> Any:
    targets = {name: "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in both) for name, both in ports.items()}
    sections: dict[str, Any] = {
        name: {"serve": {"lame_duck_s": 1.0}, **{to: targets[to] for to in CALLS[name]}}
        for name in CALLS
        if name != "edge"
    }
    sections["ledger"] |= {
        "database_url": database,
        "admin_key": ADMIN,
        "prices": PRICES,
        "serve": {"lame_duck_s": 1.0},
    }
    sections["edge"] = {"listen": {"address": f"127.0.0.1:{edge}"}, "tracing": {"share": 1.0}}
    sections["edge"] |= {to: targets[to] for to in CALLS["edge"]}
    sections["guard"] |= {"key": ADMIN, "seal_keys": ["one key for both replicas of the guard"]}
    sections["jobs"] |= {"database_url": database, "broker": broker, "key": ADMIN}
    sections["registry"] |= {"database_url": database, "key": ADMIN}
    sections["orchestrator"] |= {"key": ADMIN}
    sections["router"] |= {"key": ADMIN, "database_url": database}
    sections["cache"] |= {"store": f"edge:{state / 'cache'}"}
    sections["retrieval"] |= {"store": f"edge:{state / 'retrieval'}", "database_url": database, "key": ADMIN}
    sections["models"] |= {
        "local": False,
        "catalogue": {name: {"model": name, "base_url": peer.url, "wire": "openai"} for name in MODELS},
    }
    return {**sections, "process": {"otlp_endpoint": spans}}


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _serves(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            said = stub.Check(health_pb2.HealthCheckRequest(), timeout=5.0)
        except grpc.RpcError:
            return False
    return bool(said.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def replicated(
    servers: Servers | None = None, twice: Collection[str] = TWICE, **more: dict[str, Any]
) -> Iterator[Apart]:
    """`servers` brings the database and the broker; `twice` says who has two replicas; `more` are settings by section."""
    row = free_row(2 * len(PORTS) + 1)
    ports = {name: [row + 2 * n, row + 2 * n + 1][: 2 if name in twice else 1] for n, name in enumerate(PORTS)}
    with tempfile.TemporaryDirectory(prefix="tw-replicas-") as folder, provider() as peer, collector() as spans:
        state = Path(folder)
        state.chmod(0o755)  # the database runs as another user when tests run as root
        with (servers or embedded_servers)(state) as (database, broker):
            config = state / "mesh.yaml"
            edge = row + 2 * len(PORTS)
            whole = settings(ports, edge, database, broker, state, peer, spans.url)
            config.write_text(yaml.safe_dump(merged(whole, more)))
            made = Apart(f"http://127.0.0.1:{edge}", "", state, config, ports, spans)
            try:
                for tier in TIERS:
                    for name in tier:
                        made.processes[name] = [
                            made.start(name, which) for which in range(len(ports.get(name, [edge])))
                        ]
                    for name in tier:
                        for which in range(len(made.processes[name])):
                            made.healthy(name, which)
                made.key = made.tollway("keys", "create", "acme/app")
                yield made
            finally:
                for tier in reversed(TIERS):
                    for name in tier:
                        for process in made.processes.get(name, ()):
                            process.send_signal(signal.SIGTERM)
                    for name in tier:
                        for process in made.processes.get(name, ()):
                            process.wait(60)


@contextmanager
def embedded_servers(folder: Path) -> Iterator[tuple[str, str]]:
    """PostgreSQL and NATS; they belong to no test's event loop."""
    with asyncio.Runner() as runner:
        database, broker = embedded.postgres(folder / "postgres"), embedded.nats(folder / "nats")
        urls = runner.run(database.__aenter__()), runner.run(broker.__aenter__())
        try:
            yield urls
        finally:
            for one in (broker, database):
                runner.run(one.__aexit__(None, None, None))
