"""One service at a time is stopped and started again while requests flow: who waits, what fails, what is paid."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from openai import AsyncOpenAI

from services.mesh import running as told
from services.mesh.plan import TIERS
from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import Mesh, free_row, running
from tests.peers.provider import provider
from tests.support.scale import SOAK
from tests.support.waiting import until

CLIENTS, PAUSE_S = 3, 0.0 if SOAK else 0.25
"""Who asks all the time, and how long each waits for the next request: what starts again has the machine meanwhile."""
SERVICES = tuple(name for tier in reversed(TIERS) for name in tier)
RESTARTED = {"unix": SERVICES, "tls": SERVICES} if SOAK else {"tls": SERVICES[::2]}
"""Over which transport, and who. `test_versions` restarts all of them over the other."""
KILLED = tuple(name for name in SERVICES if SOAK or name in ("edge", "orchestrator", "models", "ledger", "cache"))
DEPENDENCIES = '{"daring/app": {"ledger": "open", "allowance": {"requests": 3}}}'
OPEN = ("cache", "router", "retrieval", "encoder")
"""Requests go on without these: see the failure policy in docs/operate.md."""


class Load:
    """Asks again and again, half of it streamed, and keeps every answer."""

    def __init__(self, mesh: Mesh, key: str) -> None:
        self.mesh, self.key = mesh, key
        self.answers: list[Answer | Exception] = []

    async def run(self) -> None:
        while True:
            streamed = len(self.answers) % 2 == 0
            try:
                self.answers.append(await sent(self.mesh, asking(stream=streamed), key=self.key))
            except (OSError, aiohttp.ClientError) as error:
                self.answers.append(error)
            await asyncio.sleep(PAUSE_S)

    async def more(self, answers: int) -> None:
        enough = len(self.answers) + answers
        await until(lambda: len(self.answers) >= enough)

    @property
    def failed(self) -> list[object]:
        return [
            one if isinstance(one, Exception) else (one.status, one.raw[:300]) for one in self.answers if not good(one)
        ]


def good(answer: Answer | Exception) -> bool:
    if isinstance(answer, Exception) or answer.status != 200:
        return False
    return not answer.events or answer.events[-1] == "[DONE]"


@asynccontextmanager
async def under_load(mesh: Mesh, key: str, clients: int = CLIENTS) -> AsyncIterator[Load]:
    load = Load(mesh, key)
    tasks = [asyncio.create_task(load.run()) for _ in range(clients)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def restarted(mesh: Mesh, *arguments: str) -> None:
    done = await asyncio.to_thread(mesh.tollway, "restart", *arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def apart(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    how = ("--tls", f"--grpc-port={free_row()}") if request.param == "tls" else ()
    with provider() as peer, running(peer, "--split", *how, TOLLWAY_JOBS__LEASE_S="3",
                                    TOLLWAY_ORCHESTRATOR__DEPENDENCIES=DEPENDENCIES) as mesh:  # fmt: skip
        yield mesh


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("apart", "restarting"), list(RESTARTED.items()), indirect=["apart"])
async def test_a_restart_of_any_service_fails_no_request(apart: Mesh, restarting: tuple[str, ...]) -> None:
    async with under_load(apart, apart.key) as load:
        await load.more(5)
        for name in restarting:
            await restarted(apart, name)
            await load.more(5)
            assert not load.failed, (name, load.failed[:3])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("apart", ("unix",), indirect=True)
async def test_a_kill_of_any_service_charges_what_was_answered(apart: Mesh) -> None:
    key = apart.new_key("killed/app")
    apart.tollway("budgets", "set", "killed", "100000requests", "--per=total")
    async with under_load(apart, key) as load:
        for name in KILLED:
            before = len(load.failed)
            await load.more(3)
            await restarted(apart, name, "--kill")
            await load.more(5)
            lost = load.failed[before:]
            assert len(lost) <= (0 if name in OPEN else 3), (name, lost)
    answered = sum(good(one) for one in load.answers)
    charged = -1
    for _ in range(40):  # a whole answer is settled after it was sent; a hold of one that broke returns by itself
        charged = int(apart.tollway("budgets", "list", "killed").stdout.splitlines()[-1].split()[4])
        if charged >= answered:
            break
        await asyncio.sleep(0.25)
    # Each client's last request was under way when the load ended: it may be charged, and its answer is not counted.
    assert answered <= charged <= len(load.answers) + CLIENTS, (answered, charged, load.failed)


@pytest.mark.parametrize("apart", ("unix",), indirect=True)
def test_a_name_that_is_no_services_restarts_none(apart: Mesh) -> None:
    before = told.running(apart.state).processes
    done = apart.tollway("restart", "router", "nobody")
    assert done.returncode and "there is no service nobody" in done.stderr.replace("\n", " ")
    assert told.running(apart.state).processes == before


@pytest.mark.parametrize("apart", ("unix",), indirect=True)
async def test_what_ends_by_itself_is_started_again(apart: Mesh) -> None:
    before = told.running(apart.state).processes["router"]
    os.kill(before, signal.SIGKILL)
    await until(lambda: told.running(apart.state).processes["router"] != before)
    assert (await sent(apart, asking())).status == 200


@pytest.mark.parametrize("apart", ("unix",), indirect=True)
async def test_a_service_that_does_not_come_back_is_refused_in_time(apart: Mesh) -> None:
    """A stopped process neither answers nor ends: the road does not wait for ever."""
    process = told.running(apart.state).processes["router"]
    os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert (await sent(apart, asking())).status == 200  # open: the default model answers
        assert time.monotonic() - began < 5
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.timeout(900 if SOAK else 240)
@pytest.mark.parametrize("apart", ("unix",), indirect=True)
async def test_a_batch_goes_on_where_it_was_when_its_service_was_killed(apart: Mesh) -> None:
    lines: list[dict[str, Any]] = [
        {"custom_id": f"l{n}", "method": "POST", "url": "/v1/chat/completions", "body": asking(f"number {n}")}
        for n in range(10_000 if SOAK else 600)
    ]
    wrong = {n for n in range(0, len(lines), 97)}
    for n in wrong:
        lines[n]["body"]["temperature"] = 9
    async with AsyncOpenAI(base_url=f"{apart.url}/v1", api_key=apart.key) as client:
        kept = await client.files.create(file=("asked.jsonl", b"\n".join(map(orjson.dumps, lines))), purpose="batch")
        batch = await client.batches.create(
            input_file_id=kept.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        killed = 0
        while batch.status == "in_progress":
            await asyncio.sleep(0.2)
            batch = await client.batches.retrieve(batch.id)
            assert batch.request_counts is not None
            if killed < 2 and batch.request_counts.completed > len(lines) * (killed + 1) // 4:
                killed += 1
                await restarted(apart, "jobs", "--kill")
        assert killed == 2 and batch.status == "completed"
        answers = [orjson.loads(one) for one in (await client.files.content(batch.output_file_id or "")).iter_lines()]
        errors = [orjson.loads(one) for one in (await client.files.content(batch.error_file_id or "")).iter_lines()]
    codes = {one["custom_id"]: one["response"]["body"]["error"]["code"] for one in errors}
    blocked = {
        int(name[1:]) for name, code in codes.items() if code == "content_policy_violation"
    }  # a false alarm, rarely
    assert len(blocked) <= len(lines) // 1000
    bad = wrong | blocked
    assert [one["custom_id"] for one in answers] == [f"l{n}" for n in range(len(lines)) if n not in bad]
    for one in answers:
        assert f"number {one['custom_id'][1:]}" in one["response"]["body"]["choices"][0]["message"]["content"]
    assert list(codes) == [f"l{n}" for n in sorted(bad)]
    assert {codes[f"l{n}"] for n in wrong} == {"invalid_value"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("apart", ("unix",), indirect=True)
async def test_while_the_ledger_stands_still_a_project_goes_on_within_its_allowance(apart: Mesh) -> None:
    key = apart.new_key("daring/app")
    apart.tollway("budgets", "set", "daring", "800requests", "--per=total")
    assert (await sent(apart, asking("first"), key=key)).status == 200
    await asyncio.sleep(1)  # its allowance is carved beside the request
    process = told.running(apart.state).processes["ledger"]
    os.kill(process, signal.SIGSTOP)
    try:
        within = [await sent(apart, asking(f"ask {n}", stream=n % 2 == 0), key=key) for n in range(4)]
    finally:
        os.kill(process, signal.SIGCONT)
    assert [one.status for one in within] == [200, 200, 200, 503], [one.raw[:200] for one in within]
    assert within[0].headers["x-tollway-degraded"] == "ledger"
    assert "allowance of daring/app" in within[3].json["error"]["message"] and within[3].headers["retry-after"]
    await until(lambda: _spent(apart, "daring") == "4", 40)


def _spent(mesh: Mesh, account: str) -> str:
    return mesh.tollway("budgets", "list", account).stdout.splitlines()[-1].split()[4]
