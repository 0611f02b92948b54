"""The file that a mesh runs with: defaults, the user's own over them, prices where they are kept."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.mesh.apart import settings_of
from services.mesh.plan import TIERS, Plan, merged, priced

OWN = """
models:
  catalogue:
    mine: {model: m, provider: vllm, base_url: "http://127.0.0.1:1/v1", prices: {input: "1", output: "2"}}
    free: {model: f, provider: ollama}
ledger:
  prices: {other: {input: "3", output: "4"}}
"""


def test_what_is_above_wins_name_by_name() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_a_models_prices_are_handed_to_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    plan = Plan(tmp_path / "state", config=str(tmp_path / "own.yaml"))
    plan.write("postgresql://x")
    written = yaml.safe_load(plan.file.read_text())
    assert written["ledger"]["prices"] == {
        "mine": {"input": "1", "output": "2"},
        "other": {"input": "3", "output": "4"},
    }
    assert "prices" not in written["models"]["catalogue"]["mine"] and written["ledger"]["admin_key"]


@pytest.mark.parametrize("whole", [{}, {"models": None}, {"models": {"catalogue": {"a": {"model": "m"}}}}])
def test_without_prices_nothing_changes(whole: dict[str, Any]) -> None:
    assert priced(whole) is whole


def test_what_the_ledger_was_told_itself_stands() -> None:
    entry = {"model": "m", "prices": {"input": "1", "output": "1"}}
    made = priced({"models": {"catalogue": {"a": entry}}, "ledger": {"prices": {"a": {"input": "9", "output": "9"}}}})
    assert made["ledger"]["prices"]["a"] == {"input": "9", "output": "9"}


def test_a_servers_prices_are_handed_to_the_ledger(tmp_path: Path) -> None:
    own = {"tools": {"servers": {"box": {"url": "http://x/mcp", "prices": {"call": "0.01"}}}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    plan = Plan(tmp_path / "state", servers={"more": {"url": "http://y/mcp"}}, config=str(tmp_path / "own.yaml"))
    written = plan.write("postgresql://x")
    assert written["ledger"]["prices"] == {"tools/box": {"call": "0.01"}}
    assert written["tools"]["servers"] == {"more": {"url": "http://y/mcp"}, "box": {"url": "http://x/mcp"}}


@pytest.mark.parametrize("service", [name for tier in TIERS for name in tier])
def test_a_checkouts_settings_are_read_from_its_text(service: str) -> None:
    kind = importlib.import_module(f"services.{service}.app").Settings
    assert settings_of(Path(__file__).parents[2], service) == {one.name for one in dataclasses.fields(kind)}
