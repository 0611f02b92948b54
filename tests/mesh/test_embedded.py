"""The broker in the state folder: one at a time, whatever killed the mesh before."""

import subprocess
import sys
from pathlib import Path

import nats
import psutil

from services.mesh import embedded

LEFT = """
import asyncio, sys
from pathlib import Path
from services.mesh import embedded

async def main():
    async with embedded.nats(Path(sys.argv[1])):
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def serving(folder: Path) -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter()
        if one.name() == "nats-server"
        and one.status() != psutil.STATUS_ZOMBIE
        and str(folder) in " ".join(one.cmdline())
    ]


async def test_what_a_killed_mesh_left_running_is_ended_before_another_writes_to_its_store(tmp_path: Path) -> None:
    mesh = subprocess.Popen([sys.executable, "-c", LEFT, str(tmp_path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert mesh.stdout is not None and mesh.stdout.readline() == b"up\n"
    mesh.kill()
    mesh.communicate()
    (left,) = serving(tmp_path)
    async with embedded.nats(tmp_path) as url:
        (now,) = serving(tmp_path)
        assert now.pid != left.pid
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="jobs", subjects=["jobs"])
        await client.close()
    assert not serving(tmp_path)


async def test_a_process_that_has_its_number_by_now_is_let_be(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220
    (tmp_path / f"nats-server_{other.pid}.ports").write_text("{}")
    async with embedded.nats(tmp_path):
        assert other.poll() is None
    other.kill()
    other.wait()
