"""Several processes, of a service each or of several: started tier by tier, started again when one ends, stopped the other way,
each with its own log."""

import ast
import asyncio
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh import groups
from services.mesh.groups import Group
from services.mesh.plan import READY_WITHIN_S, Ended, NotReady, Plan, Told, Up, private
from services.runtime import channels, notifying
from services.runtime.children import Child
from services.runtime.server import Process
from services.runtime.settings import BadSettings, load

log = logging.getLogger(__name__)

DRAIN_S = 60.0
BACKLOG = 2048
QUICK_S = 10.0
"""A service that ends so soon after it was up is not well."""
MOST_QUICK = 5
"""So many in a row end the mesh."""
MOST_CRASHES = 2
"""A process that a signal ends before it serves is started again so often: native code that gives up is no setting of ours."""


async def run(
    plan: Plan, environ: Mapping[str, str], told: Told, stopped: Callable[[list[Up]], Awaitable[None]]
) -> None:
    """Runs the processes of `plan` until `stopped` returns.

    `told` hears of each as it comes up, the first time and every later one.

    Raises:
        Ended: a service does not start, or ends again and again.
        NotReady: one starts and does not become ready.
    """
    tiers: list[list[Member]] = []
    ups: list[Up] = []
    listener = _listener(plan, environ)
    groups.llama(plan).unlink(missing_ok=True)
    try:
        for tier in groups.groups(plan, yaml.safe_load(plan.file.read_text())):
            tiers.append([Member(plan, one, environ, listener if "edge" in one.services else None) for one in tier])
            for member in tiers[-1]:
                await member.start()
            for member in tiers[-1]:
                ups.append(await member.begun())
                told(ups[-1])
        waiting = asyncio.ensure_future(stopped(ups))
        kept = [asyncio.ensure_future(member.keep(told)) for members in tiers for member in members]
        done, others = await asyncio.wait([waiting, *kept], return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for ended in done:
            ended.result()
    finally:
        for members in reversed(tiers):
            for member in members:
                member.terminate()
            for member in members:
                await member.gone()
        if listener is not None:
            listener.close()


@dataclass(slots=True)
class Member:
    """A process, and the one that takes its place when it ends."""

    plan: Plan
    group: Group
    environ: Mapping[str, str]
    listener: socket.socket | None
    """The edge's: it is ours, so that connections wait while the edge is started again."""
    process: Child | None = None
    local: bool = False
    """The local model was seen to run."""
    ears: socket.socket | None = None
    """Where a process of several services says that it is ready."""
    up_since: float = field(default=0.0)

    async def start(self) -> None:
        self.local = (
            self.local or groups.llama(self.plan).exists()
        )  # it may be away for a moment when this one comes again
        environ = {**os.environ, **self.environ, **groups.environ(self.plan, self.group, self.local)}
        if metrics := load(Process, environ, "process").metrics_address:
            environ["TOLLWAY_PROCESS__METRICS_ADDRESS"] = in_row(metrics, self.group.place)
        inherited: tuple[int, ...] = ()
        if self.listener is not None:
            environ["TOLLWAY_EDGE__LISTEN__ADDRESS"] = f"fd:{self.listener.fileno()}"
            inherited = (self.listener.fileno(),)
        code = self.plan.code(self.name)
        if code is not None:
            environ["PYTHONPATH"] = os.pathsep.join((str(code), str(code / "gen")))
            environ["TOLLWAY_CONFIG"] = str(self._settings_for(code))
        program = [f"services.{self.name}"]
        if not self.group.alone:
            program = ["services.mesh", "serve", f"--name={self.name}", *self.group.services]
            environ["NOTIFY_SOCKET"] = self._listening()
        with self.log.open("ab") as log:
            self.process = Child.start(
                sys.executable,
                "-m",
                *program,
                environ=environ,
                folder=code,
                stdout=log,
                stderr=log,
                inherited=inherited,
                session=True,  # an interrupt from the terminal is for us, who stop them in order
            )

    def _settings_for(self, code: Path) -> Path:
        """The plan's file as another checkout takes it: settings that it does not have yet, or any more, would be refused."""
        whole = yaml.safe_load(self.plan.file.read_text())
        for service in self.group.services:
            known = settings_of(code, service)
            whole[service] = {name: value for name, value in whole[service].items() if name in known}
        file = self.plan.run / f"{self.name}.yaml"
        private(file, yaml.safe_dump(whole, sort_keys=False))
        return file

    async def keep(self, told: Told) -> None:
        """Starts it again whenever it ends."""
        quick = 0
        while True:
            assert self.process is not None
            code = await self.process.wait()
            quick = quick + 1 if time.monotonic() - self.up_since < QUICK_S and code else 0
            if quick >= MOST_QUICK:
                raise Ended(f"{self.name} ended with {code}, again and again; its log is {self.log}")
            await self.start()
            told(await self.begun())

    async def begun(self) -> Up:
        """As `healthy`, once more where it crashed on the way."""
        for _ in range(MOST_CRASHES):
            try:
                return await self.healthy()
            except Ended:
                if self.process is None or (self.process.returncode or 0) >= 0:
                    raise
                log.warning("%s was ended by signal %d at its start", self.name, -(self.process.returncode or 0))
                await self.start()
        return await self.healthy()

    async def healthy(self) -> Up:
        """Waits until it serves."""
        assert self.process is not None
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not await self._serves():
                    if self.process.returncode is not None:
                        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
                        raise Ended(f"{self.name} ended with {self.process.returncode}: {''.join(last)}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise NotReady(f"{self.name} is not ready after {READY_WITHIN_S:.0f} s; see {self.log}") from None
        self.up_since = time.monotonic()
        backend = f"process {self.process.pid}, log {self.log}"
        found = groups.addresses(self.plan, self.group)
        if "edge" in self.group.services:
            found["edge"] = self._url()
        shown = found.get("edge") or next(iter(found.values()))
        return Up(self.name, shown, backend, self.process.pid, found)

    def terminate(self) -> None:
        if self.process is not None:
            self.process.terminate()

    async def gone(self) -> None:
        if self.ears is not None:
            self.ears.close()
        if self.process is None:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def log(self) -> Path:
        return self.plan.run / f"{self.name}.log"

    def _listening(self) -> str:
        """Where the next process is to say that it is ready: a name of its own, so that none before it is heard."""
        if self.ears is not None:
            self.ears.close()
        self.ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"tollway-{secrets.token_hex(8)}"
        self.ears.bind(f"\0{name}")
        return f"@{name}"

    def _url(self) -> str:
        port = self.plan.port if self.listener is None else self.listener.getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def _serves(self) -> bool:
        if self.ears is not None:
            try:
                return self.ears.recv(len(notifying.READY)) == notifying.READY
            except BlockingIOError:
                return False
        if self.name == "edge":
            return await self._answers()
        async with channels.open(self.plan.address(self.name), self.plan.certificates("client")) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                said = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.aio.AioRpcError:
                return False
        return bool(said.status == health_pb2.HealthCheckResponse.SERVING)

    async def _answers(self) -> bool:
        """Whether the edge itself answers: connections alone are taken in by whoever holds the socket."""
        host, _, port = self._url().removeprefix("http://").rpartition(":")
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    return b"HTTP/" in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


def settings_of(code: Path, service: str) -> set[str]:
    """Names of the settings that a service has in a checkout, as its text says: nothing of it runs, since its callers wait."""
    tree = ast.parse((code / "services" / service / "app.py").read_text())
    (kind,) = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Settings"]
    fields = [one.target for one in kind.body if isinstance(one, ast.AnnAssign)]
    return {one.id for one in fields if isinstance(one, ast.Name)}


def in_row(address: str, place: int) -> str:
    """Where a process's own metrics are, with `address` for the first.

    Raises:
        BadSettings: `address` is no HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise BadSettings(f"process.metrics_address: {address} is not HOST:PORT")
    return f"{host}:{int(port) + place}"


def _listener(plan: Plan, environ: Mapping[str, str]) -> socket.socket | None:
    """The edges' socket; None where there is one edge and settings say where it listens.

    Raises:
        OSError: the port is taken.
    """
    said = environ.get("TOLLWAY_EDGE__LISTEN__ADDRESS") or plan.own("edge", "listen", "address")
    if said and not plan.workers:
        return None
    host, _, port = (said or f"127.0.0.1:{plan.port}").rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
