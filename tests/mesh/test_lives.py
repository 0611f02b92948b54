"""Starts, stops and kills: no call is lost by a drain, no money by a kill, and split or not is the same."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import Mesh, running
from tests.peers.provider import provider
from tests.support.ports import free_port
from tests.support.scale import sized
from tests.support.waiting import until


async def test_a_drain_loses_no_stream() -> None:
    with provider() as peer, running(peer, TOLLWAY_EDGE__LISTEN__DRAIN_S="5") as mesh:
        streams = [
            asyncio.create_task(sent(mesh, asking(f"count {n}", model="endless", stream=True, max_tokens=5)))
            for n in range(3)
        ]
        texts = [f"{n} " + "word " * 200 for n in range(100)]
        quick = [asyncio.create_task(sent(mesh, asking(text, stream=True))) for text in texts]
        await until(lambda: len(peer.requests) >= 50)
        os.kill(mesh.pid, signal.SIGTERM)
        answers = await asyncio.gather(*quick)
        assert [answer.events[-1] for answer in answers] == ["[DONE]"] * 100
        assert [answer.streamed for answer in answers] == [f"You said: {text}" for text in texts]
        for stream in streams:
            stream.cancel()
        mesh.process.wait(60)
        assert mesh.process.returncode == 0


async def test_the_services_apart_answer_as_together() -> None:
    port = free_port()
    with provider() as peer, running(peer, "--split", f"--port={port}") as mesh:
        assert mesh.services["guard"].startswith("unix:")
        body = asking("Write to ada@example.com")
        first = await sent(mesh, body)
        assert first.text == "You said: Write to ada@example.com" and "ada@" not in str(peer.requests)
        await asyncio.sleep(0.3)
        streamed = await sent(mesh, {**body, "stream": True})
        assert streamed.headers["x-tollway-cache"] == "exact" and streamed.streamed == first.text
        assert (await sent(mesh, asking(temperature=9))).status == 400
        assert (await sent(mesh, asking(model="cut", stream=True))).events[-1]["error"]["code"] == "provider_broke"
        assert "serving" in mesh.tollway("doctor").stderr


async def test_killed_again_and_again_it_passes_no_budget_and_loses_no_settlement() -> None:
    """The whole mesh, its database with it, is killed under load; what was answered is in the books."""
    with provider() as peer, running(peer) as mesh:
        key = mesh.new_key("fire/app")
        mesh.tollway("budgets", "set", "fire", "400requests", "--per=total")
        answered = 0
        for _ in range(sized(2, 50)):
            tasks = [asyncio.create_task(_tried(mesh, key)) for _ in range(30)]
            await asyncio.sleep(0.25)
            _kill_all(mesh)
            answered += sum(isinstance(one, Answer) and one.status == 200 for one in await asyncio.gather(*tasks))
            _again(mesh, peer.url)
        spent = mesh.tollway("budgets", "list", "fire").stdout.splitlines()[-1].split()
        settled = int(spent[4])
        assert answered <= settled <= 400, (answered, spent)


async def _tried(mesh: Mesh, key: str) -> Answer | Exception:
    """A streamed request: its last piece comes after the settlement is durable."""
    try:
        answer = await sent(mesh, asking(stream=True), key=key)
        return answer if answer.events and answer.events[-1] == "[DONE]" else Exception()
    except Exception as error:  # noqa: BLE001 - whatever a killed server does to its callers
        return error


def _kill_all(mesh: Mesh) -> None:
    mesh.process.kill()
    mesh.process.wait()
    postmaster = mesh.state / "postgres" / "postmaster.pid"
    os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGKILL)


def _again(mesh: Mesh, url: str) -> None:
    from tests.mesh import running as starting

    (mesh.state / "run" / "up.json").unlink(missing_ok=True)
    process = starting._started(mesh.state, mesh.provider, (), {})
    fresh = starting._up(mesh.state, mesh.provider, process)
    mesh.process, mesh.url, mesh.pid, mesh.services = process, fresh.url, fresh.pid, fresh.services


@pytest.mark.timeout(180)
async def test_a_real_model_on_this_machine_answers(tmp_path: Path) -> None:
    with provider() as peer, running(peer, TOLLWAY_MODELS__LOCAL="true") as mesh:
        body = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 24}
        first = await sent(mesh, body)
        assert first.status == 200 and first.text.strip() and first.json["usage"]["completion_tokens"] > 0
        streamed = await sent(
            mesh, {**body, "messages": [{"role": "user", "content": "Count to three."}], "stream": True}
        )
        assert streamed.streamed.strip() and streamed.events[-1] == "[DONE]"
        (child,) = [one for one in psutil.Process(mesh.pid).children() if "services.models.llama" in one.cmdline()]
        child.kill()
        async with asyncio.timeout(60):
            while (await sent(mesh, {**body, "messages": [{"role": "user", "content": "Again?"}]})).status != 200:
                await asyncio.sleep(0.3)
