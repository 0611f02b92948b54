"""Children are started without a fork's handlers, and their end is told to whoever waits."""

import asyncio
import ctypes
import signal
import sys
from pathlib import Path

import pytest

from services.runtime.children import Child

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
