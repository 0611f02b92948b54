"""Coding agents, the real ones, against the mesh: they run a command that the model asks for, and the model sees no address that they were
told. `make agents` installs them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.running import Mesh
from tests.peers.coder import FILE

INSTALLED = Path(".tools/agents/node_modules/.bin").absolute()
MAIL = "ada@example.com"
PROMPT = f"Write down {MAIL} please"
QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "IS_SANDBOX": "1",
}
CODEX = """
model = "{model}"
model_provider = "tollway"
[model_providers.tollway]
name = "Tollway"
base_url = "{url}/v1"
env_key = "TOLLWAY_KEY"
wire_api = "responses"
supports_websockets = {sockets}
"""


def run(name: str, folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """An agent at work in a folder of its own."""
    if not (INSTALLED / name).exists():
        pytest.skip(f"{name} is not installed: `make agents` brings it")
    home = folder / "home"
    home.mkdir()
    kept = {one: os.environ[one] for one in ("PATH", "LANG") if one in os.environ}
    return subprocess.run(
        [INSTALLED / name, *arguments],
        cwd=folder, env={**kept, **QUIET, "HOME": str(home), **environ}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def written(folder: Path, said: "subprocess.CompletedProcess[str]") -> None:
    """The agent did what its model asked for, with the asker's own word."""
    assert said.returncode == 0, said.stdout + said.stderr
    assert (folder / FILE).read_text().strip() == MAIL, said.stdout + said.stderr
    assert f"Done: {MAIL}" in said.stdout or MAIL in said.stdout


def seen(mesh: Mesh) -> list[dict[str, Any]]:
    asked = [one for one in mesh.provider.asked("coder") if "Write down" in json.dumps(one)]
    assert asked and MAIL not in json.dumps(asked)
    mesh.provider.requests.clear()
    return asked


def test_claude_code_asks_any_model(mesh: Mesh, tmp_path: Path) -> None:
    said = run(
        "claude", tmp_path, "-p", PROMPT, "--dangerously-skip-permissions", "--output-format", "json",
        ANTHROPIC_BASE_URL=mesh.url, ANTHROPIC_AUTH_TOKEN=mesh.key, ANTHROPIC_MODEL="coder", ANTHROPIC_SMALL_FAST_MODEL="coder",
    )  # fmt: skip
    written(tmp_path, said)
    told = json.loads(said.stdout)
    assert (told["is_error"], told["num_turns"]) == (False, 2) and MAIL in told["result"]
    asked = seen(mesh)
    assert "[PERSON_" not in json.dumps(asked), "its own words and tools name nobody"
    assert {"Bash", "Edit"} <= {one["function"]["name"] for one in asked[-1]["tools"]}


@pytest.mark.parametrize("sockets", ["false", "true"])
@pytest.mark.parametrize("model", ["coder", "gpt-6.2-sol"])
def test_codex_asks_any_model(mesh: Mesh, tmp_path: Path, model: str, sockets: str) -> None:
    """Of a model that it knows it brings tools among the input, one of them with a text in place of arguments."""
    folder = tmp_path / "codex"
    folder.mkdir()
    (folder / "config.toml").write_text(CODEX.format(model=model, url=mesh.url, sockets=sockets))
    said = run(
        "codex", tmp_path, "exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", PROMPT,
        CODEX_HOME=str(folder), TOLLWAY_KEY=mesh.key,
    )  # fmt: skip
    written(tmp_path, said)
    tools = {one["function"]["name"] for one in seen(mesh)[-1]["tools"]}
    assert ("functions__exec" if model == "gpt-6.2-sol" else "exec_command") in tools
