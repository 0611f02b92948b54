"""Services started by their own words, most of them twice: replicas share the load, and one may go at any time."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.mesh.client import Answer, asking, sent
from tests.mesh.replicas import TWICE, Apart, replicated
from tests.mesh.running import free_row

HARD = """Let G be a finite group of order 56. Which of the following statements must be true?
A. G is abelian
B. G has a normal Sylow subgroup
C. G is simple
D. G has exactly 8 Sylow 7-subgroups"""
ROUTER = {
    "policies": {
        "acme": {"models": ["echo", "late"], "quality_floor": 1.0, "cascade": {"enough": 0.1}},
        "talking": {"models": ["echo", "late"], "quality_floor": 0.95, "sticky": True},
    },
    "profiles": {"echo": {"ability": 0.0}, "late": {"ability": 1.0}},
}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Apart]:
    with replicated(router=ROUTER, ledger={"prices": {"late": {"input": "10", "output": "20"}}}) as made:
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


async def test_whichever_router_is_asked_knows_a_decision(mesh: Apart) -> None:
    answers = [await asked(mesh, model="auto") for _ in range(12)]
    assert {(one.headers["x-tollway-model"], one.headers["x-tollway-route"]) for one in answers} == {
        ("echo", "cascade")
    }
    for one in answers:
        said = {name: one.headers[f"x-tollway-{name}"] for name in ("decision", "model")}
        body = {"decision_id": said["decision"], "model": said["model"], "score": 1}
        told = await sent(mesh, body, path="/tollway/v1/feedback", key=mesh.key)  # type: ignore[arg-type]
        assert told.json["routed"] is True, told.raw


async def test_a_conversation_stays_with_its_model_whichever_router_is_asked(mesh: Apart) -> None:
    key = await asyncio.to_thread(mesh.tollway, "keys", "create", "talking/app")
    easy = {"role": "user", "content": "What is the capital of France?"}
    began = {"role": "user", "content": HARD}
    first = await asked(mesh, key, model="auto", messages=[began])
    assert first.headers["x-tollway-model"] == "late"
    await asyncio.sleep(1.0)  # replicas tell each other a moment later
    turns = [began, {"role": "assistant", "content": "B"}, easy]
    later = await asyncio.gather(*(asked(mesh, key, model="auto", messages=turns, seed=n) for n in range(8)))
    assert {one.headers["x-tollway-model"] for one in later} == {"late"}
    other = await asked(mesh, key, model="auto", messages=[easy])
    assert other.headers["x-tollway-model"] == "echo"


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
