"""compose.yaml says what the services are: their entry points, ports, health checks, volumes and peers; and no secret."""

import importlib
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.mesh.commands import secrets
from services.mesh.plan import CALLS, PORTS
from services.runtime.settings import load

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "tollway.yaml"
SERVICES = ("edge", *PORTS)
SECRET = re.compile(r"KEY|PASSWORD|SECRET|TOKEN")
ASKED = re.compile(r"\$\{(\w+):([?-])[^}]*\}")


@cache
def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return made


def settings(name: str) -> Any:
    """As the container has them: its environment over the file."""
    said = compose()["services"][name]["environment"]
    environ = {key: ASKED.sub("s3cret", str(value)) for key, value in said.items()}
    assert environ.pop("TOLLWAY_CONFIG") == "/etc/tollway.yaml"
    module = importlib.import_module(f"services.{name}.app")
    return load(module.Settings, {**environ, "TOLLWAY_CONFIG": str(CONFIG)}, name)


def port(name: str) -> str:
    service = compose()["services"][name]
    return str(service["expose"][0] if "expose" in service else service["ports"][0].rsplit(":", 1)[1])


@pytest.mark.parametrize("name", SERVICES)
def test_the_entry_point_is_the_services_own(name: str) -> None:
    assert compose()["services"][name]["command"] == [f"services.{name}"]
    assert (ROOT / "services" / name / "__main__.py").exists()


@pytest.mark.parametrize("name", SERVICES)
def test_it_listens_where_the_file_says_and_is_asked_there(name: str) -> None:
    found = settings(name)
    where = found.listen if name == "edge" else found.serve
    assert where.address == f"0.0.0.0:{port(name)}" and where.plain_text
    probe = compose()["services"][name]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "tollway", "health"] and f"127.0.0.1:{port(name)}" in probe[3]
    lame = where.lame_duck_s if name == "edge" else where.longest_lame_s
    assert lame + where.drain_s < int(compose()["services"][name]["stop_grace_period"].rstrip("s"))


@pytest.mark.parametrize("name", SERVICES)
def test_it_calls_its_peers_where_they_listen(name: str) -> None:
    found = settings(name)
    for peer in CALLS.get(name, ()):
        assert getattr(found, peer) == f"dns:///{peer}:{port(peer)}"


@pytest.mark.parametrize("name", SERVICES)
def test_it_runs_as_nobody_on_a_root_that_it_cannot_write(name: str) -> None:
    service = compose()["services"][name]
    assert service["user"] == "10001:10001" and service["read_only"] and service["cap_drop"] == ["ALL"]
    kept = [value for value in map(str, vars_of(settings(name))) if value.removeprefix("edge:").startswith("/state")]
    assert bool(kept) == any(volume.endswith(":/state") for volume in service.get("volumes", ()))


def vars_of(made: Any) -> list[Any]:
    return [getattr(made, field) for field in made.__dataclass_fields__]


def test_no_secret_stands_in_any_file() -> None:
    for service in compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                assert ASKED.fullmatch(str(value)), name
    for file in (ROOT / "deploy").iterdir():
        if file.is_file():
            assert not re.search(r"(?i)(key|password|secret|token)\s*:\s*\S", file.read_text()), file


def test_what_it_asks_for_is_what_the_command_makes() -> None:
    asked = {name for name, kind in ASKED.findall((ROOT / "compose.yaml").read_text()) if kind == "?"}
    assert asked == set(secrets.NAMES)


def test_every_image_is_pinned() -> None:
    for name, service in compose()["services"].items():
        tag = str(service["image"]).rpartition(":")[2]
        assert name in SERVICES or re.match(r"v?\d+\.\d+", tag), (name, service["image"])
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM"):
            assert re.search(r":\d+\.\d+\.\d+-", line), line


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists() and f"!{source}" in ignored, source


def test_every_file_that_is_mounted_is_there() -> None:
    for one in compose()["configs"].values():
        assert yaml.safe_load((ROOT / one["file"]).read_text())


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference parser of compose files, built from its Go module."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: the compose file is not read by the reference parser")
    made = tmp_path_factory.mktemp("go") / "compose"
    built = subprocess.run(
        ["go", "build", "-o", str(made), "."],
        cwd=Path(__file__).parent / "compose", capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if built.returncode and re.search(r"dial|timeout|proxy|toolchain", built.stderr + built.stdout):
        pytest.skip("its Go modules cannot be fetched: the compose file is not read by the reference parser")
    assert built.returncode == 0, built.stderr
    return made


@pytest.mark.timeout(300)
def test_the_reference_parser_reads_it(parser: Path) -> None:
    environ = {**os.environ, **dict.fromkeys(secrets.NAMES, "s3cret")}
    read = subprocess.run(
        [str(parser), "compose.yaml"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    project = yaml.safe_load(read.stdout)
    assert set(SERVICES) < set(project["services"])
    without = {name: value for name, value in environ.items() if name not in secrets.NAMES}
    refused = subprocess.run(
        [str(parser), "compose.yaml"], cwd=ROOT, env=without, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1 and "run tollway secrets" in refused.stderr
