"""The last release's code beside today's: any two services of the two versions work together, in a rolling upgrade and back."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.mesh.plan import TIERS
from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh, running
from tests.mesh.test_rolling import restarted, under_load
from tests.peers.provider import provider

ROOT = Path(__file__).parents[2]
RELEASED = "protos/released.txt"
"""Names the last release; the commit that wrote it is that release."""


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the last release, its stubs built."""
    try:
        commit = git("log", "-1", "--format=%H", "--", RELEASED)
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    if not commit:
        pytest.skip("no history of the repository here: the last release cannot be run")
    folder = tmp_path_factory.mktemp("released")
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    subprocess.run([sys.executable, "tools/stubs.py"], cwd=folder, capture_output=True, check=True)
    return folder


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    # Four services start at once here, beside other tests: that may take more than the usual ten seconds.
    with provider() as peer, running(peer, "--split", TOLLWAY_ORCHESTRATOR__WAITS__RESTART_S="30") as made:
        yield made


@pytest.mark.timeout(300)
async def test_services_of_two_versions_work_together(mesh: Mesh, before: Path) -> None:
    """Down tier by tier, callees first, then up again in the same order: every caller meets every callee of the other version."""
    async with under_load(mesh, mesh.key, clients=1) as load:
        for code in (f"--code={before}", None):
            for tier in TIERS:
                names = [one for one in tier if (before / "services" / one).exists()]
                await restarted(mesh, *names, *filter(None, [code]))
                await load.more(2)
                await everything(mesh)
                assert not load.failed, (tier, code, load.failed[:3])


async def everything(mesh: Mesh) -> None:
    """What only some requests use: tools, a mask, the cache, embeddings, the list of models, grounding."""
    body = asking("Write to ada@example.com about it")
    first = await sent(mesh, body)
    assert first.status == 200 and first.text == f"You said: {body['messages'][0]['content']}", first.raw
    async with asyncio.timeout(10):
        while (again := await sent(mesh, {**body, "stream": True})).headers.get("x-tollway-cache") != "exact":
            assert again.status == 200, again.raw
            await asyncio.sleep(0.1)
    assert again.streamed == first.text
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    called = await sent(mesh, asking(model="tools", tools=tools))
    assert called.json["choices"][0]["message"]["tool_calls"], called.raw
    vectors = await sent(mesh, {"model": "static", "input": ["one", "two"]}, path="/v1/embeddings")
    assert len(vectors.json["data"]) == 2
    assert (await sent(mesh, path="/v1/models", method="GET")).status == 200
    refused = await sent(mesh, asking(temperature=9))
    assert refused.status == 400 and refused.code == "invalid_value"
