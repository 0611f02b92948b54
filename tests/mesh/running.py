"""A whole mesh as users start it: the `tollway` command, in a process of its own, before a recording provider."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.mesh.plan import PORTS
from tests.peers.provider import Provider

MODELS = (
    "echo",
    "tools",
    "busy",
    "broken",
    "broken-canary",
    "broken-measured",
    "broken-traced",
    "broken-followed",
    "broken-google",
    "broken-socketed",
    "cut",
    "cut-socketed",
    "slow",
    "late",
    "shapeless",
    "quiet",
    "private",
    "endless",
    "typist",
    "coder",
)
BESIDE = ("judge", "censor", "painter", "scribe", "speaker", "reader", "seeker", "narrow", "talker", "brokentalker")
"""Models that do something else than chat (`brokentalker` opens no session), one that searches the web on Anthropic's wire, and one that holds little."""
PRICES = json.dumps(
    {
        **{name: {"input": "1", "output": "2"} for name in (*MODELS, *BESIDE, "story", "gpt-6.2-sol")},
        "strong": {"input": "10", "output": "20"},
        "tools/box": {"call": "0.002"},
    }
)


@dataclass(slots=True)
class Mesh:
    state: Path
    url: str
    key: str
    pid: int
    services: dict[str, str]
    provider: Provider
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def tollway(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command against this mesh."""
        return subprocess.run(
            [sys.executable, "-m", "services.mesh", *arguments, f"--state={self.state}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def new_key(self, account: str, *more: str) -> str:
        made = self.tollway("keys", "create", account, *more)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def log(self) -> str:
        return (self.state / "log").read_text()


def free_row(length: int = len(PORTS)) -> int:
    """The first of so many ports in a row that nobody has."""
    chance = random.Random()
    while True:
        first = chance.randrange(20_000, 32_000)
        with ExitStack() as held:
            try:
                for port in range(first, first + length):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@contextmanager
def running(provider: Provider, *arguments: str, **environ: str) -> Iterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="tw-mesh-") as folder:
        Path(folder).chmod(0o755)  # the database runs as another user when tests run as root
        state = Path(folder) / "state"
        state.mkdir()
        process = _started(state, provider, arguments, environ)
        try:
            yield _up(state, provider, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError((state / "log").read_text()[-3000:]) from None


def _started(
    state: Path, provider: Provider, arguments: tuple[str, ...], environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    models = [f"--model={name}=test:{name}@{provider.url}" for name in MODELS]
    models += [f"--model=story=vllm:story@{provider.url}", f"--model=gpt-6.2-sol=test:coder@{provider.url}"]
    usual = {
        "TOLLWAY_MODELS__LOCAL": "false",
        "TOLLWAY_LEDGER__PRICES": PRICES,
        "TOLLWAY_LEDGER__STRONGEST__MODEL": "strong",
        "TOLLWAY_EDGE__LISTEN__LAME_DUCK_S": "0.2",
        "TOLLWAY_GUARD__POLICIES": str(state / "policies"),
    }
    given = {one.partition("=")[0] for one in arguments}
    ports = [f"{option}=0" for option in ("--port", "--grpc-port") if option not in given]
    with (state / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "services.mesh", "up", "--quiet", *ports, f"--state={state}",
             *models, *arguments],
            env={**os.environ, **usual, **environ},
            stdout=log,
            stderr=log,
        )  # fmt: skip


def _up(state: Path, provider: Provider, process: "subprocess.Popen[bytes]") -> Mesh:
    told, until = state / "run" / "up.json", time.monotonic() + 90
    while not told.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError((state / "log").read_text()[-3000:])
        time.sleep(0.05)
    said = json.loads(told.read_text())
    key = (state / "dev.key").read_text().strip()
    return Mesh(state, said["url"], key, said["pid"], said["services"], provider, process)
