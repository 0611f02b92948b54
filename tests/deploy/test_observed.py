"""Dashboards and alert rules: they parse, they ask for metrics that a mesh really sends, and each rule has its runbook."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
import yaml

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh, free_row, running
from tests.peers.collector import Collector, collector
from tests.peers.provider import provider
from tests.support.waiting import eventually, until

ROOT = Path(__file__).parents[2]
RULES, BOARD = ROOT / "deploy" / "alerts.yaml", ROOT / "deploy" / "dashboards" / "tollway.json"
NAMES = re.compile(r"\btollway_\w+")
UNITS = {"s": "seconds", "1": "ratio", "USD": "USD"}
"""What a unit becomes in a name: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/"""


def expressions() -> list[str]:
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in json.loads(BOARD.read_text())["panels"] for target in panel["targets"]]
    return [*rules, *panels]


def seen_by_prometheus(name: str, unit: str, counter: bool) -> str:
    parts = [name.replace(".", "_"), *([UNITS[unit]] if unit in UNITS else []), *(["total"] if counter else [])]
    return "_".join(parts)


def promtool() -> str:
    if (found := shutil.which("promtool")) is None:
        pytest.skip("no promtool on this machine: apt-get install prometheus")
    return found


def test_rules_are_rules() -> None:
    made = subprocess.run([promtool(), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert made.returncode == 0 and "9 rules found" in made.stdout, made.stdout + made.stderr


def test_panels_ask_in_promql(tmp_path: Path) -> None:
    """Each expression as a rule of its own, for the real parser."""
    asked = [one.replace("$__rate_interval", "5m") for one in expressions()]
    rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(asked)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    made = subprocess.run([promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr


def test_every_rule_has_its_runbook() -> None:
    book = (ROOT / "docs" / "runbooks.md").read_text()
    sections = {head.lower().replace(" ", "-") for head in re.findall(r"^## (.+)$", book, re.MULTILINE)}
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            file, _, section = rule["annotations"]["runbook_url"].partition("#")
            assert file == "docs/runbooks.md" and section in sections, rule["alert"]


def test_panels_lie_beside_each_other() -> None:
    panels: list[Any] = json.loads(BOARD.read_text())["panels"]
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len({one["id"] for one in panels}) == len(set(places)) == len(panels)
    assert all(one["datasource"]["uid"] == "tollway" and one["title"] for one in panels)


async def test_a_mesh_sends_what_they_ask_for(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_row(1)}"
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "a.txt").write_text("Lorries pay nine crowns.")
    config = {
        "retrieval": {"sources": {"shelf": {"url": f"folder:{tmp_path / 'shelf'}", "tenant": "metered"}}},
        "tools": {"servers": {"away": {"url": "http://127.0.0.1:9/mcp"}}},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    how = {"TOLLWAY_PROCESS__METRICS_ADDRESS": address, "TOLLWAY_CONFIG": str(tmp_path / "own.yaml")}
    with collector() as seen, provider() as peer:
        with running(peer, TOLLWAY_PROCESS__OTLP_ENDPOINT=seen.url, **how) as mesh:
            await used(mesh)
            await judged(mesh, tmp_path)
            await until(lambda: ("tollway.ledger.budget.used", ("main", "metered")) in seen.metrics.values, within_s=20)
            asked = {name for one in expressions() for name in NAMES.findall(one)}
            scraped = set[str]()
            for _ in range(40):  # the last pair's verdict is counted after it can be read
                scraped = await asyncio.to_thread(names_at, f"http://{address}/metrics")
                if asked <= scraped:
                    break
                await asyncio.sleep(0.25)
        sent_names = {seen_by_prometheus(*one) for one in seen.metrics.kinds}
        whole = {name.removesuffix("_bucket") for name in asked}
        assert whole <= sent_names, whole - sent_names
        assert asked <= scraped, asked - scraped
        counted(seen)


def names_at(url: str) -> set[str]:
    with urlopen(url) as answer:
        return {line.split("{")[0] for line in answer.read().decode().splitlines()}


async def used(mesh: Mesh) -> None:
    key = mesh.new_key("metered/app")
    assert mesh.tollway("budgets", "set", "metered", "5usd").returncode == 0
    body = asking("Write to ada@example.com about it")
    for _ in range(2):
        assert (await sent(mesh, body, key=key)).status == 200
        await until_kept(mesh, body, key)


async def judged(mesh: Mesh, folder: Path) -> None:
    """A run over a dataset, a shadow's pair, a word on an answer."""
    key = mesh.new_key("judged/app")
    case = {"case_id": "c1", "messages": [{"role": "user", "text": "hello"}], "expected": "You said: hello"}
    (folder / "cases").mkdir()
    (folder / "cases" / "questions.yaml").write_text(yaml.safe_dump({"dataset": {"cases": [case]}}))
    for arguments in (
        ("registry", "apply", str(folder / "cases")),
        ("eval", "run", "questions@1", "--model=echo", "--measure=exact"),
        ("shadow", "set", "other", "--model=echo", "--candidate-model=quiet", "--measure=exact"),
    ):
        done = await asyncio.to_thread(mesh.tollway, *arguments, f"--key={key}")
        assert done.returncode == 0, done.stderr
    answer = await sent(mesh, asking("and this one?"), key=key)
    said = {"trace_id": answer.headers["x-tollway-trace"], "score": 1}
    assert (await sent(mesh, said, path="/tollway/v1/feedback", key=key)).status == 202
    await eventually(lambda: paired(mesh, key), 60)


async def paired(mesh: Mesh, key: str) -> bool:
    """Asks once more; whether the shadow has seen any of it by now."""
    await sent(mesh, asking(f"what would another say of {uuid4().hex}?"), key=key)
    report = await sent(mesh, path="/tollway/v1/shadows/other", method="GET", key=key)
    return any(one["pairs"] for one in report.json["measures"])


async def until_kept(mesh: Mesh, body: Any, key: str) -> None:
    """The second answer comes from the cache, once the first is kept."""
    for _ in range(50):
        if (await sent(mesh, body, key=key)).headers.get("x-tollway-cache") == "exact":
            return


def counted(seen: Collector) -> None:
    values = seen.metrics.values
    assert values["tollway.ledger.cost", ("echo",)] > 0 and values["tollway.ledger.tokens", ("echo", "input")] > 0
    assert values["tollway.cache.lookups", ("exact",)] >= 1 and values["tollway.cache.lookups", ("miss",)] >= 1
    assert values["tollway.guard.findings", ("EMAIL", "mask")] >= 1
    assert values["tollway.models.available", ("echo",)] == 1
    assert 0 < values["tollway.ledger.budget.used", ("main", "metered")] < 1
    assert values["tollway.ledger.baseline", ("cache",)] > 0
    run = ("exact", "questions")
    assert values["tollway.registry.scores", run] == values["tollway.registry.scored", run] == 1
