"""What a running mesh says of itself in `STATE/run/up.json`, for the commands that come after it."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import yaml

from services.mesh.plan import Up
from services.runtime import channels, children
from services.runtime.channels import PLAIN, Tls

STATE = Path(".tollway")


@dataclass(frozen=True, slots=True)
class Running:
    pid: int
    url: str
    services: dict[str, str]
    """Address by name."""
    tls: dict[str, str] = field(default_factory=dict)
    """Files of a client's certificate; none where services speak plain text."""
    processes: dict[str, int] = field(default_factory=dict)
    """Process by name, where there are several: of each service, or of each that holds several."""

    def channel(self, service: str) -> grpc.aio.Channel:
        """Opens a channel to one of its services."""
        return channels.open(self.services[service], Tls(**self.tls))

    @property
    def alive(self) -> bool:
        return children.alive(self.pid)


class NotUp(Exception):
    """No mesh runs on this state folder."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"no mesh runs on {state}: start one with `tollway up`")


def tell(state: Path, ups: Sequence[Up], tls: Tls = PLAIN) -> None:
    services = {name: address for up in ups for name, address in up.found.items()}
    processes = {up.name: up.process for up in ups if up.process}
    said = Running(os.getpid(), services["edge"], services, asdict(tls) if tls else {}, processes)
    fresh = state / "run" / "up.new"
    fresh.write_text(json.dumps(asdict(said)))
    fresh.rename(state / "run" / "up.json")


def forget(state: Path) -> None:
    (state / "run" / "up.json").unlink(missing_ok=True)


def told(state: Path) -> Running | None:
    """The mesh that runs on `state`; None when none does."""
    try:
        said = Running(**json.loads((state / "run" / "up.json").read_text()))
    except FileNotFoundError:
        return None
    return said if said.alive else None


def running(state: Path) -> Running:
    """
    Raises:
        NotUp
    """
    if (found := told(state)) is None:
        raise NotUp(state)
    return found


def admin_key(state: Path) -> str:
    """The key that may administer the mesh on `state`."""
    whole = yaml.safe_load((state / "mesh.yaml").read_text())
    return str(whole["ledger"]["admin_key"])


def dev_key_file(state: Path) -> Path:
    return state / "dev.key"


def bearing(key: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a call under `key`."""
    return (("authorization", f"Bearer {key}"),)
