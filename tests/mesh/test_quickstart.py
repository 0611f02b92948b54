"""The first hour, as a newcomer pastes it: each command of the guide's walk prints what the guide says."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.running import free_row

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "quickstart.md"
STEP = re.compile(r"^### (.+?)$|^```sh\n(.*?)^```\n\n^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
END = "--- end of a step"


def steps() -> list[tuple[str, str, str]]:
    """Of the walk: the heading, the commands, and what they print."""
    walk = GUIDE.read_text().partition("## A walk through")[2].partition("\n## ")[0]
    assert walk.count("```sh") == walk.count("```text")
    heading, found = "", []
    for named, commands, printed in STEP.findall(walk):
        heading = named or heading
        if commands:
            found.append((heading, commands, printed))
    return found


def printed_in(wanted: str, output: str) -> bool:
    """Whether `output` holds the lines of `wanted` in order; `...` stands for anything, and widths do not count."""
    parts = [re.escape(part) for part in wanted.strip().split("...")]
    pattern = ".*".join(re.sub(r"(?:\\?\s)+", r"\\s+", part) for part in parts)
    return re.search(pattern, output, re.DOTALL) is not None


@pytest.fixture(scope="module")
def outputs() -> Iterator[list[str]]:
    """What each step prints, all pasted into one shell beside a mesh that `tollway up` started as it is."""
    with tempfile.TemporaryDirectory(prefix="tw-guide-") as folder:
        place, http, grpc = Path(folder), free_row(1), free_row()
        place.chmod(0o755)  # the database runs as another user when tests run as root
        (place / ".venv" / "bin").mkdir(parents=True)
        for file, begins in (("tollway", "-m services.mesh"), (".venv/bin/python", "")):
            (place / file).write_text(f'#!/bin/sh\nexec {sys.executable} {begins} "$@"\n')
            (place / file).chmod(0o755)
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "gen")))}
        up = ["./tollway", "up", f"--port={http}", f"--grpc-port={grpc}"]
        with (place / "log").open("wb") as log:
            mesh = subprocess.Popen(up, cwd=place, env=environ, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 120
            while not (place / ".tollway" / "run" / "up.json").exists():
                assert mesh.poll() is None and time.monotonic() < until, (place / "log").read_text()[-3000:]
                time.sleep(0.1)
            script = f"echo '{END}'\n".join(commands for _, commands, _ in steps())
            script = script.replace("127.0.0.1:8080", f"127.0.0.1:{http}").replace(
                "127.0.0.1:50056", f"127.0.0.1:{grpc + 5}"
            )
            done = subprocess.run(
                ["bash", "-c", script], cwd=place, env=environ, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
            )  # fmt: skip
            yield done.stdout.split(END)
        finally:
            mesh.terminate()
            mesh.wait(60)


@pytest.mark.timeout(400)
def test_each_step_prints_what_the_guide_says(outputs: list[str]) -> None:
    told = steps()
    assert len(outputs) == len(told)
    wrong = [
        (heading, output)
        for (heading, _, wanted), output in zip(told, outputs, strict=True)
        if not printed_in(wanted, output)
    ]
    assert not wrong


def test_what_is_not_printed_is_missed() -> None:
    assert printed_in("a 1\n...\nb", "so:\na   1 and\nmore\nb!")
    assert not printed_in("a 1\nb", "a 1\nc\nb") and not printed_in("b\n...\na", "a\nb")
