"""Workers: several processes, each with the whole road of a request, share the requests, the budgets and the cache."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.mesh import running as told
from services.mesh.groups import HOME, ROAD, addresses, groups
from services.mesh.plan import PORTS, Plan
from services.mesh.running import bearing
from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh, free_row, running
from tests.mesh.test_rolling import good, restarted, under_load
from tests.peers.provider import provider
from tests.support.waiting import until

WORKERS = ("worker-1", "worker-2")
RUN = 5
"""Letters at the beginning of a decision's id that are its router's own."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Mesh]:
    with provider() as peer, running(peer, "--workers=2", f"--grpc-port={free_row()}") as mesh:
        yield mesh


def test_what_only_one_process_may_open_is_in_one(tmp_path: Path) -> None:
    plan = Plan(tmp_path, workers=3)
    (home,), road = groups(plan, {"cache": {"store": "edge:/here"}})
    assert set(home.services) == set(PORTS) and [set(one.services) for one in road] == [set(ROAD)] * 3
    (_,), road = groups(plan, {"cache": {"store": "http://qdrant:6334"}})
    assert all("cache" in one.services for one in road)
    assert {**addresses(plan, home), **addresses(plan, road[0])} == {name: plan.address(name) for name in PORTS}
    assert len({one.place for one in (home, *road)}) == 4


async def test_all_of_them_answer_and_one_cache_serves_them(workers: Mesh) -> None:
    fresh = await asyncio.gather(*(sent(workers, asking()) for _ in range(60)))
    assert {one.status for one in fresh} == {200}
    assert len({one.headers["x-tollway-decision"][:RUN] for one in fresh}) == len(WORKERS)
    first = await sent(workers, asking("What do the workers share?"))
    assert first.headers["x-tollway-cache"] == "miss"
    await asyncio.sleep(1.0)  # an answer is kept a moment after it was given
    again = [await sent(workers, asking("What do the workers share?")) for _ in range(12)]
    assert {one.headers["x-tollway-cache"] for one in again} == {"exact"}


async def test_a_budget_holds_over_all_of_them(workers: Mesh) -> None:
    key = workers.new_key("tight/app")
    workers.tollway("budgets", "set", "tight", "20requests", "--per=total")
    await asyncio.sleep(1.5)  # every replica of the ledger hears of a budget within a second
    answers = await asyncio.gather(*(sent(workers, asking(), key=key) for _ in range(50)))
    assert sorted(one.status for one in answers) == [200] * 20 + [429] * 30


async def test_callers_of_the_gateway_come_to_all_of_them(workers: Mesh) -> None:
    runs: set[str] = set()
    text = chat.ContentPart(text="hello")
    request = gateway_pb2.CompleteRequest(
        chat=chat.ChatRequest(model="echo", messages=[chat.Message(role=chat.ROLE_USER, parts=[text])])
    )
    for n in range(40):  # a connection each, and the system shares connections out
        alone = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(workers.services["orchestrator"], alone) as channel:
            stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
            request.chat.messages[0].parts[0].text = f"hello {n}"
            made = await stub.Complete(request, metadata=bearing(workers.key))
            runs.add(made.road.decision_id[:RUN])
    assert len(runs) == len(WORKERS)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", (*WORKERS, HOME))
async def test_a_restart_of_any_process_fails_no_request(workers: Mesh, name: str) -> None:
    async with under_load(workers, workers.key) as load:
        await load.more(5)
        await restarted(workers, name)
        await load.more(10)
        assert not load.failed, load.failed[:3]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", (WORKERS[0], HOME))
async def test_one_that_is_killed_is_started_again_and_the_others_go_on(workers: Mesh, name: str) -> None:
    async with under_load(workers, workers.key) as load:
        await load.more(5)
        before = told.running(workers.state).processes[name]
        os.kill(before, signal.SIGKILL)
        await until(lambda: told.running(workers.state).processes[name] != before, 60)
        await load.more(10)
        assert len(load.failed) <= 3, load.failed  # at most what each client had under way
        assert all(good(one) for one in load.answers[-10:])


def test_services_that_are_none_are_not_served() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.mesh", "serve", "guard", "guards"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode and "there is no service guards" in done.stderr


def test_who_starts_a_process_hears_that_it_is_ready() -> None:
    name = f"tollway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind(f"\0{name}")
        ears.settimeout(60)
        environ = {**os.environ, "NOTIFY_SOCKET": f"@{name}", "TOLLWAY_ENCODER__SERVE__ADDRESS": "127.0.0.1:0"}
        command = [sys.executable, "-m", "services.mesh", "serve", "encoder"]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert ears.recv(64) == b"READY=1"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.parametrize("said", ("--split", "--workers=-1", "--workers=100"))
def test_what_does_not_go_together_is_refused(said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.mesh", "up", "--workers=2", said, f"--state={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode and "--workers" in done.stderr
