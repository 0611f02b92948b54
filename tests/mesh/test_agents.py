"""Coding agents, the real ones, against the mesh: they run a command that the model asks for, and the model sees no address that they were
told. `make agents` installs them."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.running import Mesh
from tests.peers.coder import FILE

INSTALLED = Path(".tools/agents/node_modules/.bin").absolute()
MAIL, NUMBER = "ada@example.com", "+44-20-7946-0958"
PROMPT = "Write down {} please"
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
    home.mkdir(exist_ok=True)
    kept = {one: os.environ[one] for one in ("PATH", "LANG") if one in os.environ}
    return subprocess.run(
        [INSTALLED / name, *arguments],
        cwd=folder, env={**kept, **QUIET, "HOME": str(home), **environ}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def written(folder: Path, said: "subprocess.CompletedProcess[str]", word: str = MAIL) -> None:
    """The agent did what its model asked for, with the asker's own word."""
    assert said.returncode == 0, said.stdout + said.stderr
    assert (folder / FILE).read_text().strip() == word, said.stdout + said.stderr
    assert word in said.stdout


def seen(mesh: Mesh, word: str = MAIL) -> list[dict[str, Any]]:
    """What the model was asked: it never saw the word."""
    asked = [one for one in mesh.provider.asked("coder") if "Write down" in json.dumps(one)]
    assert asked and word not in json.dumps(asked)
    mesh.provider.requests.clear()
    return asked


def nobody(asked: list[dict[str, Any]], but: int = 0) -> None:
    """The agent's own words and tools are taken for nobody, `but` for so many."""
    assert len(set(re.findall(r"\[(?:PERSON|USERNAME|ADDRESS)_\d+\]", json.dumps(asked)))) <= but


def test_claude_code_asks_any_model(mesh: Mesh, tmp_path: Path) -> None:
    said = run(
        "claude", tmp_path, "-p", PROMPT.format(MAIL), "--dangerously-skip-permissions", "--output-format", "json",
        ANTHROPIC_BASE_URL=mesh.url, ANTHROPIC_AUTH_TOKEN=mesh.key, ANTHROPIC_MODEL="coder", ANTHROPIC_SMALL_FAST_MODEL="coder",
    )  # fmt: skip
    written(tmp_path, said)
    told = json.loads(said.stdout)
    assert (told["is_error"], told["num_turns"]) == (False, 2) and MAIL in told["result"]
    nobody(asked := seen(mesh))
    assert {"Bash", "Edit"} <= {one["function"]["name"] for one in asked[-1]["tools"]}


@pytest.mark.parametrize("sockets", ["false", "true"])
@pytest.mark.parametrize("model", ["coder", "gpt-6.2-sol"])
def test_codex_asks_any_model(mesh: Mesh, tmp_path: Path, model: str, sockets: str) -> None:
    """Of a model that it knows it brings tools among the input, one of them with a text in place of arguments."""
    folder = tmp_path / "codex"
    folder.mkdir()
    (folder / "config.toml").write_text(CODEX.format(model=model, url=mesh.url, sockets=sockets))
    said = run(
        "codex", tmp_path, "exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", PROMPT.format(MAIL),
        CODEX_HOME=str(folder), TOLLWAY_KEY=mesh.key,
    )  # fmt: skip
    written(tmp_path, said)
    tools = {one["function"]["name"] for one in seen(mesh)[-1]["tools"]}
    assert ("functions__exec" if model == "gpt-6.2-sol" else "exec_command") in tools


def test_opencode_asks_any_model(mesh: Mesh, tmp_path: Path) -> None:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{mesh.url}/v1", "apiKey": mesh.key},
        "models": {"coder": {}},
    }
    settings = {"autoupdate": False, "share": "disabled", "model": "tollway/coder", "small_model": "tollway/coder"}
    (tmp_path / "opencode.json").write_text(json.dumps({**settings, "provider": {"tollway": provider}}))
    written(tmp_path, run("opencode", tmp_path, "run", PROMPT.format(MAIL)))
    nobody(asked := seen(mesh))
    assert {"bash", "edit"} <= {one["function"]["name"] for one in asked[-1]["tools"]}


def test_qwen_code_asks_any_model(mesh: Mesh, tmp_path: Path) -> None:
    """With a number: it takes what stands behind an `@` for a file."""
    said = run(
        "qwen", tmp_path, "-y", "--auth-type", "openai", "-p", PROMPT.format(NUMBER),
        OPENAI_API_KEY=mesh.key, OPENAI_BASE_URL=f"{mesh.url}/v1", OPENAI_MODEL="coder",
    )  # fmt: skip
    written(tmp_path, said, NUMBER)
    nobody(asked := seen(mesh, NUMBER), but=1)
    assert {"run_shell_command", "edit"} <= {one["function"]["name"] for one in asked[-1]["tools"]}


def test_geminis_command_asks_any_model(mesh: Mesh, tmp_path: Path) -> None:
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}}}
    (tmp_path / "home" / ".gemini").mkdir(parents=True)
    (tmp_path / "home" / ".gemini" / "settings.json").write_text(json.dumps(settings))
    said = run(
        "gemini", tmp_path, "-y", "-m", "coder", "-p", PROMPT.format(MAIL),
        GEMINI_API_KEY=mesh.key, GOOGLE_GEMINI_BASE_URL=mesh.url, GEMINI_CLI_TRUST_WORKSPACE="true",
    )  # fmt: skip
    written(tmp_path, said)
    nobody(asked := seen(mesh))
    assert {"run_shell_command", "replace"} <= {one["function"]["name"] for one in asked[-1]["tools"]}
