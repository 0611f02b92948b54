"""Services started by their own words, most of them twice: replicas share the load, and one may go at any time."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.mesh import embedded
from services.mesh.plan import CALLS, PORTS, TIERS
from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import MODELS, free_row
from tests.peers.collector import Collector, collector
from tests.peers.provider import Provider, provider

TWICE = ("ledger", "guard", "encoder", "models", "router", "orchestrator")
ADMIN = "tw_admin_of_the_replicas_test_0123456789"
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
        target = self.url + "/readyz" if name == "edge" else f"127.0.0.1:{self.ports[name][which]}"
        until = time.monotonic() + 60
        command = [sys.executable, "-m", "services.mesh", "health", target]
        while subprocess.run(command, capture_output=True, check=False, timeout=30).returncode:
            assert time.monotonic() < until, (self.folder / f"{name}-{which}.log").read_text()[-2000:]

    def tollway(self, *arguments: str) -> str:
        admin = {"TOLLWAY_ADMIN_TARGET": f"127.0.0.1:{self.ports['ledger'][0]}", "TOLLWAY_ADMIN_KEY": ADMIN}
        command = [sys.executable, "-m", "services.mesh", *arguments]
        return subprocess.run(
            command, env={**os.environ, **admin}, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()


def settings(ports: dict[str, list[int]], edge: int, database: str, state: Path, peer: Provider, spans: str) -> Any:
    targets = {name: "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in both) for name, both in ports.items()}
    sections: dict[str, Any] = {
        name: {"serve": {"lame_duck_s": 0.5}, **{to: targets[to] for to in CALLS[name]}}
        for name in CALLS
        if name != "edge"
    }
    sections["ledger"] = {"database_url": database, "admin_key": ADMIN, "prices": PRICES, "serve": {"lame_duck_s": 0.5}}
    sections["edge"] = {"listen": {"address": f"127.0.0.1:{edge}"}, "tracing": {"share": 1.0}}
    sections["edge"] |= {to: targets[to] for to in CALLS["edge"]}
    sections["guard"] |= {"key": ADMIN, "seal_keys": ["one key for both replicas of the guard"]}
    sections["orchestrator"] |= {"key": ADMIN}
    sections["cache"] |= {"store": f"edge:{state / 'cache'}"}
    sections["retrieval"] |= {"store": str(state / "retrieval"), "key": ADMIN}
    sections["models"] |= {
        "local": False,
        "catalogue": {name: {"model": name, "base_url": peer.url, "wire": "openai"} for name in MODELS},
    }
    return {**sections, "process": {"otlp_endpoint": spans}}


@contextmanager
def replicated() -> Iterator[Apart]:
    row = free_row(2 * len(PORTS) + 1)
    ports = {name: [row + 2 * n, row + 2 * n + 1][: 2 if name in TWICE else 1] for n, name in enumerate(PORTS)}
    with tempfile.TemporaryDirectory(prefix="tw-replicas-") as folder, provider() as peer, collector() as spans:
        state = Path(folder)
        state.chmod(0o755)  # the database runs as another user when tests run as root
        with embedded_database(state / "postgres") as database:
            config = state / "mesh.yaml"
            edge = row + 2 * len(PORTS)
            config.write_text(yaml.safe_dump(settings(ports, edge, database, state, peer, spans.url)))
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
def embedded_database(folder: Path) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    context = embedded.postgres(folder)
    url = loop.run_until_complete(context.__aenter__())
    try:
        yield url
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()


@pytest.fixture(scope="module")
def mesh() -> Iterator[Apart]:
    with replicated() as made:
        yield made


async def asked(mesh: Apart, key: str = "", **more: Any) -> Answer:
    return await sent(mesh, asking(**more), key=key or mesh.key)  # type: ignore[arg-type]


@pytest.mark.timeout(180)
async def test_replicas_share_the_load(mesh: Apart) -> None:
    answers = [await asked(mesh, stream=n % 2 == 0) for n in range(30)]
    assert [one.status for one in answers] == [200] * 30
    async with asyncio.timeout(20):
        while not all(len(mesh.spans.instances[f"tollway-{name}"]) == 2 for name in TWICE):
            await asyncio.sleep(0.2)


async def test_replicas_of_the_ledger_share_a_budget(mesh: Apart) -> None:
    key = await asyncio.to_thread(mesh.tollway, "keys", "create", "tight/app")
    await asyncio.to_thread(mesh.tollway, "budgets", "set", "tight", "20requests", "--per=total")
    await asyncio.sleep(1.5)  # the other replica hears of a budget within a second
    answers = await asyncio.gather(*(asked(mesh, key) for _ in range(50)))
    codes = sorted(one.status for one in answers)
    odd = [one.raw for one in answers if one.status not in (200, 429)]
    assert codes == [200] * 20 + [429] * 30, (
        odd,
        [(one.name, one.read_text()[-1500:]) for one in mesh.folder.glob("*.log")],
    )


@pytest.mark.parametrize("name", TWICE)
async def test_one_replica_ends_and_nobody_notices(mesh: Apart, name: str) -> None:
    process = mesh.processes[name][1]
    process.send_signal(signal.SIGTERM)
    answers = []
    while process.poll() is None:
        answers.append(await asked(mesh))
    answers += [await asked(mesh) for _ in range(5)]
    assert {one.status for one in answers} == {200}, [one.raw for one in answers if one.status != 200]
    mesh.processes[name][1] = mesh.start(name, 1)
    await asyncio.to_thread(mesh.healthy, name, 1)


@pytest.mark.parametrize("name", ("cache", "retrieval"))
def test_an_embedded_store_says_that_it_is_a_single_replica(mesh: Apart, name: str) -> None:
    assert "a single replica" in (mesh.folder / f"{name}-0.log").read_text()
    mesh.ports[name].append(free_row(1))
    second = mesh.start(name, 1)
    assert second.wait(60) != 0
    log = (mesh.folder / f"{name}-1.log").read_text()
    assert "another process" in log and "Traceback" not in log, log[-2000:]
