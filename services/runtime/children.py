"""Child processes, started without a fork.

uvloop starts them by fork, and while other threads call gRPC, gRPC's fork handlers break such a child now and then before its program
begins. `subprocess` uses vfork, which runs no handlers.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and that nobody reaps, as in a container without an init, does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True, slots=True)
class Child:
    """A process, and its end as something to wait for. Standard input and output are as `subprocess.Popen` has them."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls,
        *arguments: str,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        inherited: Sequence[int] = (),
        session: bool = False,
    ) -> "Child":
        """Starts a program.

        Args:
            inherited: descriptors that stay open in it.
            session: it leads a session of its own, which an interrupt from our terminal does not reach.

        Raises:
            OSError: there is no such program, or no room for a process.
        """
        return cls(
            subprocess.Popen(
                arguments, stdin=stdin, stdout=stdout, stderr=stderr, env=environ, cwd=folder, pass_fds=inherited,
                start_new_session=session,
            )
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, -N when signal N ended it."""
        return self.process.poll()

    async def wait(self) -> int:
        """Waits for its end. Several may, and any may be cancelled."""
        if (code := self.process.poll()) is not None:
            return code
        watched = os.pidfd_open(self.pid)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(watched, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)
        return self.process.wait()

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        """Does nothing to a process that has ended."""
        self.process.kill()
