"""The `tollway` command, as a newcomer meets it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.mesh.commands import secrets
from services.mesh.plan import PORTS
from tests.mesh.running import Mesh


def tollway(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services.mesh", *arguments],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environ},
    )  # fmt: skip


def test_a_key_is_printed_alone(mesh: Mesh) -> None:
    made = mesh.tollway("keys", "create", "cli/app", "--name=mine")
    assert made.returncode == 0 and made.stdout.startswith("tw_") and made.stdout.count("\n") == 1
    listed = mesh.tollway("keys", "list", "cli").stdout
    assert "cli/app" in listed and "mine" in listed and made.stdout.strip() not in listed


def test_a_key_is_handed_on(mesh: Mesh) -> None:
    mesh.tollway("keys", "create", "cli/handed")
    key_id = mesh.tollway("keys", "list", "cli/handed").stdout.splitlines()[1].split()[0]
    made = mesh.tollway("keys", "rotate", key_id, "--hours=1")
    assert made.returncode == 0 and made.stdout.startswith("tw_") and f"{key_id} works until" in made.stderr
    assert mesh.tollway("keys", "list", "cli/handed").stdout.count("cli/handed") == 2


def test_a_bad_account_or_amount_is_named(mesh: Mesh) -> None:
    bad = mesh.tollway("keys", "create", "Not/Good")
    assert bad.returncode == 1 and "account" in bad.stderr
    assert "not an amount" in mesh.tollway("budgets", "set", "cli", "lots").stderr
    assert "--per" in mesh.tollway("budgets", "set", "cli", "5usd", "--per=decade").stderr


def test_a_question_is_answered_as_it_is_written(mesh: Mesh) -> None:
    said = mesh.tollway("ask", "What is new?", "--model=echo", "--trace")
    assert said.stdout == "You said: What is new?\n"
    assert "model echo" in said.stderr and "GuardService/InspectPrompt" in said.stderr and "edge POST" in said.stderr
    wrong = mesh.tollway("ask", "x", "--model=unheard-of")
    assert wrong.returncode == 1 and "there is no model unheard-of" in wrong.stderr


def test_models_are_listed_with_price_and_health(mesh: Mesh) -> None:
    mesh.tollway("ask", "What is new?", "--model=echo")
    said = mesh.tollway("models")
    (row,) = [line for line in said.stdout.splitlines() if line.startswith("echo ")]
    assert "test:echo" in row and "$1.00 / $" in row and "well" in row and " ms" in row, said.stderr


def test_routing_is_explained_and_replayed(mesh: Mesh) -> None:
    said = mesh.tollway("route", "explain", "What is the capital of France?")
    assert said.returncode == 0 and said.stdout.startswith("task ") and "echo" in said.stdout, said.stderr
    assert "allowed are" in mesh.tollway("route", "explain", "x", "--rule=best").stderr
    mesh.tollway("ask", "Which river is the longest?")
    told = mesh.tollway("route", "replay", "--floor=0.5", "--days=1")
    assert told.returncode == 0 and "predicted quality" in told.stdout, told.stderr


def test_a_policy_is_checked_and_explained(mesh: Mesh, tmp_path: Path) -> None:
    good, bad = tmp_path / "acme.yaml", tmp_path / "beta.yaml"
    good.write_text("deny_patterns: [{name: codename, pattern: bluebird}]\n")
    bad.write_text("prompt:\n  default: sometimes\n")
    assert tollway("policy", "check", str(good)).returncode == 0
    checked = tollway("policy", "check", str(good), str(bad))
    assert checked.returncode == 1 and "beta: line 2" in checked.stderr and "acme: 1 rules" in checked.stderr
    said = mesh.tollway("policy", "explain", "Write to ada@example.com at once.")
    assert said.stdout.startswith("mask by prompt.default; confidential"), said.stderr
    assert "sent: Write to [EMAIL_1] at once." in said.stdout and "an address with a domain" in said.stdout


def test_the_doctor_finds_a_running_mesh_well(mesh: Mesh) -> None:
    found = mesh.tollway("doctor")
    assert found.returncode == 0, found.stderr
    assert found.stderr.count("serving") == len(PORTS)


def test_the_doctor_says_how_to_mend(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = tollway("doctor", f"--state={tmp_path}", f"--port={taken.getsockname()[1]}", "--grpc-port=0")
    assert found.returncode == 1 and "choose another with --port" in found.stderr


def test_a_second_mesh_on_the_same_state_is_refused(mesh: Mesh) -> None:
    again = mesh.tollway("up", "--port=0", "--grpc-port=0")
    assert again.returncode == 1 and "already" in again.stderr


def test_a_faulty_start_says_why(tmp_path: Path) -> None:
    for arguments, words in (
        (("--model=nonsense",), "NAME=PROVIDER:MODEL@BASE_URL"),
        (("--model=a=nobody:b",), "base URL is needed"),
        (("--config=/nowhere.yaml",), "no such file"),
    ):
        failed = tollway("up", f"--state={tmp_path}", *arguments)
        assert failed.returncode == 1 and words in failed.stderr
    (tmp_path / "bad.yaml").write_text("guard: {colour: red}\n")
    failed = tollway("up", f"--state={tmp_path}/s", f"--config={tmp_path}/bad.yaml", "--port=0", "--grpc-port=0")
    assert failed.returncode == 1 and "guard.colour: unknown" in failed.stderr


@pytest.mark.parametrize("how", [(), ("--split",)])
def test_a_start_that_waits_for_a_database_ends_when_it_is_told_to(tmp_path: Path, how: tuple[str, ...]) -> None:
    nowhere = {
        f"TOLLWAY_{one}__DATABASE_URL": "postgresql://127.0.0.1:1/x"
        for one in ("LEDGER", "JOBS", "REGISTRY", "RETRIEVAL")
    }
    command = [sys.executable, "-m", "services.mesh", "up", "--port=0", "--grpc-port=0", f"--state={tmp_path}", *how]
    with (tmp_path / "log").open("wb") as out:
        starting = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **nowhere})
    logs = (tmp_path / "log", tmp_path / "run" / "ledger.log")
    until = time.monotonic() + 60
    while not any(log.exists() and "the database is away" in log.read_text() for log in logs):
        assert starting.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
        time.sleep(0.1)
    starting.terminate()
    assert starting.wait(30) == 0, (tmp_path / "log").read_text()


def test_without_a_mesh_commands_say_so(tmp_path: Path) -> None:
    for command in (("keys", "list"), ("usage", "show"), ("ask", "x")):
        said = tollway(*command, f"--state={tmp_path}")
        assert said.returncode == 1 and "tollway up" in said.stderr


def test_up_in_the_background_down_and_up_again(tmp_path: Path) -> None:
    state = f"--state={tmp_path}"
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:3]:
        if folder.stat().st_uid == tmp_path.stat().st_uid:
            folder.chmod(folder.stat().st_mode | 0o055)
    up = tollway("up", "--detach", "--port=0", "--grpc-port=0", state, TOLLWAY_MODELS__LOCAL="false")
    try:
        assert up.returncode == 0, up.stderr
        assert up.stdout.startswith("curl http://127.0.0.1:") and up.stderr.count("✓") >= 9
        key = (tmp_path / "dev.key").read_text()
        assert "already up" in tollway("up", "--detach", state).stderr
    finally:
        assert "down" in tollway("down", state).stderr
    assert "no mesh runs" in tollway("down", state).stderr
    assert (tmp_path / "dev.key").read_text() == key
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in ("dev.key", "secrets.yaml", "mesh.yaml"))


def test_health_is_asked_as_a_container_asks_it(mesh: Mesh) -> None:
    found = json.loads((mesh.state / "run" / "up.json").read_text())
    assert tollway("health", found["services"]["guard"]).stdout == "SERVING\n"
    assert tollway("health", f"{mesh.url}/readyz").stdout == "SERVING\n"
    away = tollway("health", "127.0.0.1:1")
    assert away.returncode == 1 and "UNAVAILABLE" in away.stderr
    unknown = tollway("health", found["services"]["guard"], "--service=none.such")
    assert unknown.returncode == 1 and "NOT_FOUND" in unknown.stderr


def test_a_ledger_elsewhere_is_administered_by_its_address(mesh: Mesh) -> None:
    found = json.loads((mesh.state / "run" / "up.json").read_text())
    key = (mesh.state / "mesh.yaml").read_text().split("admin_key:")[1].split()[0]
    environ = {"TOLLWAY_ADMIN_TARGET": found["services"]["ledger"], "TOLLWAY_ADMIN_KEY": key}
    made = tollway("keys", "create", "far/away", "--state=/nowhere", **environ)
    assert made.returncode == 0 and made.stdout.startswith("tw_"), made.stderr
    wrong = tollway("keys", "create", "far/away", "--state=/nowhere", **{**environ, "TOLLWAY_ADMIN_KEY": "tw_wrong"})
    assert wrong.returncode == 1


def test_secrets_are_made_for_a_deployment() -> None:
    lines = dict(line.split("=", 1) for line in tollway("secrets").stdout.splitlines())
    assert set(lines) == set(secrets.NAMES) and all(len(value) > 40 for value in lines.values())
