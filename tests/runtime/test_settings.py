"""Settings: one file, the environment over it, all faults at once, no secret in any of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.runtime.settings import BadSettings, load


@dataclass(frozen=True)
class Inner:
    address: str = "here"
    times: int = 1


@dataclass(frozen=True)
class Settings:
    database_url: str = field(repr=False)
    connections: int = 8
    share: float = 0.5
    loud: bool = False
    words: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)
    by_name: Mapping[str, Inner] = field(default_factory=dict)


URL = {"TOLLWAY_LEDGER__DATABASE_URL": "postgres://u:hunter2@h/d"}


def test_names_every_fault_at_once() -> None:
    environ = {"TOLLWAY_LEDGER__CONNECTIONS": "many", "TOLLWAY_LEDGER__COLOUR": "red", "TOLLWAY_LEDGER__LOUD": "maybe"}
    with pytest.raises(BadSettings) as fault:
        load(Settings, environ, "ledger")
    for part in ("connections: 'many' is not int", "colour: unknown", "database_url: missing", "loud: 'maybe'"):
        assert part in str(fault.value)


def test_ignores_what_kubernetes_sets_and_hides_secrets() -> None:
    made = load(Settings, {"TOLLWAY_LEDGER_PORT": "tcp://10.0.0.1:50055", **URL}, "ledger")
    assert "hunter2" not in repr(made)


def test_a_faulty_secret_is_not_shown() -> None:
    @dataclass(frozen=True)
    class Secretive:
        pin: int = field(repr=False)

    with pytest.raises(BadSettings) as fault:
        load(Secretive, {"TOLLWAY_LEDGER__PIN": "hunter2"}, "ledger")
    assert "hunter2" not in str(fault.value)


def test_reads_deeper_names_lists_and_mappings() -> None:
    environ = {
        **URL,
        "TOLLWAY_LEDGER__INNER__TIMES": "3",
        "TOLLWAY_LEDGER__WORDS": "a, b",
        "TOLLWAY_LEDGER__BY_NAME": "{one: {address: there}}",
    }
    made = load(Settings, environ, "ledger")
    assert (made.inner, made.words, made.by_name) == (Inner("here", 3), ("a", "b"), {"one": Inner("there")})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tollway.yaml"
    file.write_text("ledger: {connections: 2, share: 0.25, inner: {address: file, times: 5}}\nguard: {unheard: of}\n")
    environ = {**URL, "TOLLWAY_CONFIG": str(file), "TOLLWAY_LEDGER__INNER__ADDRESS": "environment"}
    made = load(Settings, environ, "ledger")
    assert (made.connections, made.share, made.inner) == (2, 0.25, Inner("environment", 5))


@pytest.mark.parametrize(
    "text", ["ledger: [1, 2]", "ledger: {inner: 3}", "ledger: {by_name: [1]}", "{", "ledger: {connections: true}"]
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tollway.yaml"
    file.write_text(text)
    with pytest.raises(BadSettings):
        load(Settings, {**URL, "TOLLWAY_CONFIG": str(file)}, "ledger")


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadSettings, match=r"nowhere\.yaml"):
        load(Settings, {**URL, "TOLLWAY_CONFIG": "nowhere.yaml"}, "ledger")
