"""The clients of `clients/`, built from the protos archive alone, against a live mesh under mutual TLS."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.mesh import certificates
from tests.mesh.running import Mesh, free_row, running
from tests.peers.flaky import flaky
from tests.peers.provider import provider

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
NEEDS = {
    "go": ("go",),
    "java": ("mvn", "javac"),
    "typescript": ("node", "npm"),
    "rust": ("cargo",),
    "python": (),
}
RUNS = {
    "go": ("./client",),
    "java": ("java", "-cp", "target/client-0.1.0.jar:target/lib/*", "dev.tollway.example.Client"),
    "typescript": ("node", "dist/main.js"),
    "rust": ("target/debug/tollway-client",),
    "python": (sys.executable, "client.py"),
}
BRIEFLY = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A build's Java ends before the optimising compiler pays: half of its time goes with it."""
NAMES = {"go": "Go", "java": "Java", "typescript": "TypeScript", "rust": "Rust", "python": "Python"}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with provider() as peer, running(peer, "--split", "--tls", f"--grpc-port={free_row()}") as made:
        yield made


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make protos` packs, unpacked."""
    subprocess.run([sys.executable, "-m", "tools.protos"], cwd=ROOT, capture_output=True, check=True)
    folder = tmp_path_factory.mktemp("protos")
    with zipfile.ZipFile(ROOT / "dist" / "tollway-protos.zip") as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def protoc(tmp_path_factory: pytest.TempPathFactory) -> str:
    """protoc, from grpcio-tools."""
    file = tmp_path_factory.mktemp("protoc") / "protoc"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -m grpc_tools.protoc "$@"\n')
    file.chmod(0o755)
    return str(file)


def client(language: str, mesh: Mesh, archive: Path, ledger: str) -> list[str]:
    tls = certificates.files(mesh.state / "tls", "client")
    environ = {
        "TOLLWAY_GATEWAY": mesh.services["orchestrator"],
        "TOLLWAY_GUARD": mesh.services["guard"],
        "TOLLWAY_LEDGER": ledger,
        "TOLLWAY_API_KEY": mesh.key,
        "TOLLWAY_CA": tls.authority,
        "TOLLWAY_CERT": tls.certificate,
        "TOLLWAY_KEY": tls.key,
        "TOLLWAY_SERVICE_CONFIG": str(archive / "service_config.json"),
        "TOLLWAY_MODEL": "typist",
        "TOLLWAY_BUSY_MODEL": "busy",
    }
    done = subprocess.run(
        RUNS[language], cwd=CLIENTS / language, env={**os.environ, **environ}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", NEEDS)
def test_a_client(language: str, mesh: Mesh, archive: Path, protoc: str) -> None:
    if missing := [tool for tool in NEEDS[language] if shutil.which(tool) is None]:
        pytest.skip(f"the {NAMES[language]} client is not built: {' and '.join(missing)} is not on this machine")
    built = subprocess.run(
        ["sh", str(CLIENTS / language / "build.sh"), str(archive)],
        env={**os.environ, "PROTOC": protoc, "PYTHON": sys.executable, "MAVEN_OPTS": BRIEFLY},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    tls = certificates.files(mesh.state / "tls", "ledger")
    with flaky(mesh.services["ledger"], tls) as (ledger, network):
        said = client(language, mesh, archive, ledger)
        assert network.asked == {"/tollway.ledger.v1.LedgerService/QueryUsage": 2}, "tried again, once"
    assert [re.sub(r"retry_after=[\d.]+s", "retry_after=Ns", line) for line in said] == [
        f"completion: You said: Hello from {NAMES[language]}",
        "stream: CANCELLED after 3 messages",
        "deadline: DEADLINE_EXCEEDED",
        "error: INVALID_ARGUMENT reason=INVALID_REQUEST field=chat.temperature",
        "error: RESOURCE_EXHAUSTED reason=PROVIDER_BUSY retry_after=Ns",
        "guard: EMAIL",
        "ledger: dev/playground",
    ]


def test_the_documentation_shows_the_clients_as_they_are() -> None:
    shown = (ROOT / "docs" / "clients.md").read_text()
    for language in NEEDS:
        assert f"clients/{language}" in shown, language


@pytest.mark.skipif(not (ROOT / ".tools/bin/grpcurl").exists(), reason="`make tools` builds grpcurl where Go is")
def test_grpcurl_by_reflection(mesh: Mesh) -> None:
    tls = certificates.files(mesh.state / "tls", "client")
    command = [str(ROOT / ".tools/bin/grpcurl"), "-cacert", tls.authority, "-cert", tls.certificate, "-key", tls.key]
    listed = subprocess.run(
        [*command, mesh.services["orchestrator"], "list"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert "tollway.gateway.v1.GatewayService" in listed.split()
    body = {"chat": {"model": "echo", "messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello, reflection"}]}]}}
    answer = subprocess.run(
        [*command, "-H", f"authorization: Bearer {mesh.key}", "-d", json.dumps(body), mesh.services["orchestrator"],
         "tollway.gateway.v1.GatewayService/Complete"],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    said = json.loads(answer)["completion"]["choices"][0]["message"]["parts"][0]["text"]
    assert said == "You said: Hello, reflection"
