"""The servers in the state folder: one at a time, whatever killed the mesh before, and there again when they were killed themselves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import nats
import psutil

from services.mesh import embedded
from tests.support.waiting import eventually, until

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
        for one in psutil.process_iter(["name", "status", "cmdline"])
        if one.info["name"] == "nats-server"
        and one.info["status"] != psutil.STATUS_ZOMBIE
        and str(folder) in " ".join(one.info["cmdline"] or ())
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


async def test_a_broker_that_was_killed_is_there_again_with_what_it_kept(tmp_path: Path) -> None:
    async with embedded.nats(tmp_path) as url:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="jobs", subjects=["jobs"])
        await client.jetstream().publish("jobs", b"work")
        await client.close()
        (killed,) = serving(tmp_path)
        killed.kill()
        await until(lambda: [one.pid for one in serving(tmp_path)] not in ([], [killed.pid]))
        client = await nats.connect(url, max_reconnect_attempts=50, reconnect_time_wait=0.2)
        assert (await client.jetstream().stream_info("jobs")).state.messages == 1
        await client.close()
    assert not serving(tmp_path)


async def test_a_database_that_was_killed_is_there_again_with_what_it_kept(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == tmp_path.stat().st_uid:
            folder.chmod(folder.stat().st_mode | 0o055)  # it runs as another user when tests run as root
    async with embedded.postgres(tmp_path / "postgres") as url:
        connection = await asyncpg.connect(url)
        await connection.execute("create table kept (n int); insert into kept values (7)")
        killed = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(killed, signal.SIGKILL)

        async def answers() -> bool:
            try:
                again = await asyncpg.connect(url)
            except (OSError, asyncpg.PostgresError):
                return False
            assert await again.fetchval("select n from kept") == 7
            await again.close()
            return True

        await eventually(answers, 30)
        await connection.close()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
