"""The house's own rules: what is published is served and tested, what is served starts and stops, rooms stay small."""

import ast
import asyncio
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.edge.wire.errors import REASONS

ROOT = Path(__file__).parents[2]
SERVICES = (
    "cache",
    "edge",
    "encoder",
    "guard",
    "jobs",
    "ledger",
    "models",
    "orchestrator",
    "registry",
    "retrieval",
    "router",
    "tools",
)
CODE = sorted((ROOT / "services").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 70
REASON = re.compile(r'kind, reason = Kind\.(\w+), "(\w+)"')


def descriptors() -> FileDescriptorSet:
    return FileDescriptorSet.FromString((ROOT / "gen" / "image.binpb").read_bytes())


def rpcs() -> list[tuple[str, str]]:
    return [
        (file.package.split(".")[1], method.name)
        for file in descriptors().file
        if file.package.startswith("tollway.")
        for service in file.service
        for method in service.method
    ]


@pytest.mark.parametrize(("package", "name"), rpcs())
def test_every_rpc_is_served_and_tested(package: str, name: str) -> None:
    folder = "orchestrator" if package == "gateway" else package
    texts = [file.read_text() for file in (ROOT / "services" / folder).glob("*.py")]
    assert any("Servicer)" in text and re.search(rf"async def {name}\(", text) for text in texts)
    tests = "".join(file.read_text() for file in (ROOT / "tests" / folder).glob("*.py"))
    assert re.search(rf"\.{name}\(", tests), f"no test calls {package}.{name}"


def test_every_field_of_every_contract_is_commented() -> None:
    bare = []
    for file in (ROOT / "protos" / "tollway").rglob("*.proto"):
        lines = file.read_text().splitlines()
        for n, line in enumerate(lines):
            declared = re.match(r"\s+(?:repeated |optional |map<.*> )?[\w.<>, ]+ \w+ = \d+(?: \[.*)?[;\[{]?\s*$", line)
            if declared and "option " not in line and not lines[n - 1].strip().startswith("//"):
                bare.append(f"{file.name}:{n + 1}")
    assert not bare


@pytest.mark.parametrize("package", sorted({one for one, _ in rpcs()} | {"chat"}))
def test_contracts_set_their_names_for_other_languages(package: str) -> None:
    file = next(one for one in descriptors().file if one.package == f"tollway.{package}.v1")
    options = file.options
    assert options.go_package and options.java_package and options.java_multiple_files and options.csharp_namespace


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_its_readme(service: str) -> None:
    text = (ROOT / "services" / service / "README.md").read_text()
    for heading in ("## What it owns", "## Settings", "## When something fails"):
        assert heading in text, heading


@pytest.mark.parametrize(
    "file",
    sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "services").rglob("*.md")),
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (file.parent / target).exists(), target


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_small(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "training" not in file.parts:
            length = (node.end_lineno or 0) - node.lineno
            assert length <= LONGEST_FUNCTION, f"{node.name}: {length} lines"


def test_services_stand_in_the_import_rules() -> None:
    rules = (ROOT / ".importlinter").read_text()
    assert all(f"services.{service}" in rules for service in SERVICES)


def test_a_reason_that_the_edge_knows_means_one_thing() -> None:
    """Two services that call different things by the same word would be told apart by nobody."""
    kinds = defaultdict[str, set[str]](set)
    for file in CODE:
        for kind, reason in REASON.findall(file.read_text()):
            kinds[reason].add(kind)
    assert len(kinds) > 100
    assert not {reason: kinds[reason] for reason in REASONS if len(kinds[reason]) > 1}


def test_every_dependency_earns_its_line() -> None:
    said = (ROOT / "docs" / "dependencies.md").read_text()
    for name in ("requirements.in", "requirements-dev.in", "requirements-models.in", "requirements-train.in"):
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                name = re.split(r"[\[<>=~]", line)[0]
                assert f"`{name}`" in said, line


@pytest.mark.parametrize("service", SERVICES)
async def test_every_main_says_what_it_lacks_and_stops_when_told(service: str) -> None:
    """A bad setting ends it with a line that names the setting; no traceback."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}", cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", f"TOLLWAY_{service.upper()}__COLOUR": "red"},
    )  # fmt: skip
    _, said = await process.communicate()
    assert (
        process.returncode == 1 and f"{service}.colour: unknown" in said.decode() and "Traceback" not in said.decode()
    )


def test_no_secret_and_no_unfinished_place() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert not [file for file in CODE if unfinished.search(file.read_text())]


def test_the_command_helps() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "services.mesh", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert all(name in said.stdout for name in ("up", "down", "ask", "keys", "budgets", "usage", "trace", "doctor"))
