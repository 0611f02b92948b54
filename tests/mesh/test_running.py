"""What a mesh left behind of itself, and whether it still runs."""

import json
import subprocess
from pathlib import Path

from services.mesh import running
from tests.support.waiting import until


def left(state: Path, pid: int) -> None:
    (state / "run").mkdir(exist_ok=True)
    (state / "run" / "up.json").write_text(json.dumps({"pid": pid, "url": "http://127.0.0.1:1", "services": {}}))


def test_a_mesh_runs_as_long_as_its_process_does(tmp_path: Path) -> None:
    assert running.told(tmp_path) is None
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    left(tmp_path, process.pid)
    found = running.told(tmp_path)
    assert found is not None and found.pid == process.pid
    process.communicate()
    assert running.told(tmp_path) is None


async def test_one_that_has_ended_and_that_nobody_reaps_does_not_run(tmp_path: Path) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    left(tmp_path, process.pid)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    assert process.stdout.read() == b""  # it has ended, and is a zombie until somebody waits for it
    await until(lambda: running.told(tmp_path) is None)
    process.stdout.close()
    process.wait()
