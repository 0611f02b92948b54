"""What a mesh left behind of itself, and whether it still runs."""

import json
import os
import subprocess
from pathlib import Path

from services.mesh import running


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


def test_one_that_has_ended_and_that_nobody_reaps_does_not_run(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # from here on it is a zombie
    left(tmp_path, process.pid)
    assert running.told(tmp_path) is None
    process.wait()
