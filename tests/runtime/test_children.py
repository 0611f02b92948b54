"""Children are started without a fork's handlers, and their end is told to whoever waits."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime import channels
from services.runtime.background import running
from services.runtime.children import Child
from services.runtime.server import serving
from tests.runtime.echo import Echo, Stub, said
from tests.runtime.test_server import HERE

forks: list[None] = []
counted = ctypes.CFUNCTYPE(None)(lambda: forks.append(None))


@pytest.fixture
def watched() -> None:
    """Counts forks as the C library tells them to gRPC."""
    if not forks:
        getattr(ctypes.CDLL(None), "__register_atfork")(counted, None, None, None)


async def test_no_handler_of_forks_runs(watched: None) -> None:
    before = len(forks)
    assert await Child.start("/bin/true").wait() == 0
    assert len(forks) == before
    await (await asyncio.create_subprocess_exec("/bin/true")).wait()
    assert len(forks) > before, "uvloop forks no more: services.runtime.children is not needed"


async def test_a_program_begins_also_after_a_fork_while_calls_are_under_way() -> None:
    """As PostgreSQL is started as another user, which `vfork` is no way for."""

    def forked() -> int:
        return subprocess.run(["/bin/true"], preexec_fn=os.getpid, check=False).returncode

    async with serving(Echo().service(), HERE) as address, channels.open(address) as channel:
        stub = Stub(channel)

        async def ask_for_ever() -> None:
            while True:
                await stub.unary(said("again"))

        async with running(*(ask_for_ever() for _ in range(8))):
            assert [await asyncio.to_thread(forked) for _ in range(60)] == [0] * 60


async def test_its_end_is_told_to_all_who_wait_and_none_is_left(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        child = Child.start(sys.executable, "-c", "print(input())", stdin=-1, stdout=out, environ={}, folder=tmp_path)
    first, second, left = (asyncio.create_task(child.wait()) for _ in range(3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(left, 0.05)
    assert child.returncode is None and child.process.stdin is not None
    child.process.stdin.write(b"toll\n")
    child.process.stdin.close()
    assert list(await asyncio.wait_for(asyncio.gather(first, second), 20)) == [0, 0]
    assert await child.wait() == child.returncode == 0
    child.kill()
    child.terminate()
    assert (tmp_path / "out").read_text() == "toll\n"


async def test_a_signal_and_a_program_that_is_not_there() -> None:
    child = Child.start("/bin/sleep", "60")
    child.terminate()
    assert await asyncio.wait_for(child.wait(), 20) == -signal.SIGTERM
    with pytest.raises(FileNotFoundError):
        Child.start("/no/such/program")
