"""What a mesh is made of on this machine: its services, where each listens, the settings each is given.

The plan is one settings file, `STATE/mesh.yaml`, made of defaults with the user's own file over them. Whatever runs
reads that file, so it tells exactly what runs.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from services.runtime.channels import PLAIN, Tls

TIERS = (
    ("ledger",),
    ("guard", "encoder", "models", "tools"),
    ("cache", "router", "retrieval", "registry"),
    ("orchestrator",),
    ("jobs",),
    ("edge",),
)
"""In the order of starting; those of a tier start together. Stopping goes the other way, the ledger last."""
PORTS = {
    "guard": 0,
    "encoder": 1,
    "cache": 2,
    "router": 3,
    "ledger": 4,
    "retrieval": 5,
    "orchestrator": 6,
    "models": 7,
    "jobs": 8,
    "registry": 9,
    "tools": 10,
}
"""Places in the row of gRPC ports."""
CALLS = {
    "ledger": ("registry",),
    "guard": ("ledger", "encoder"),
    "encoder": ("ledger",),
    "models": ("ledger", "encoder"),
    "tools": ("ledger",),
    "cache": ("ledger", "encoder"),
    "router": ("ledger", "models", "encoder"),
    "retrieval": ("ledger", "encoder", "guard", "orchestrator"),
    "registry": ("ledger", "jobs", "cache", "router"),
    "orchestrator": (
        "guard",
        "encoder",
        "cache",
        "router",
        "ledger",
        "retrieval",
        "models",
        "jobs",
        "registry",
        "tools",
    ),
    "jobs": ("ledger", "orchestrator"),
    "edge": ("ledger", "orchestrator", "jobs", "registry", "retrieval", "guard", "cache", "router"),
}
"""Whom each service calls: a setting of that name in its section says where."""


@dataclass(frozen=True, slots=True)
class Up:
    """A service that serves, or a process that serves several."""

    name: str
    address: str
    backend: str
    process: int = 0
    """Its own, where it has one."""
    services: Mapping[str, str] = field(default_factory=dict)
    """Addresses by name of what it serves; of a service that is just itself, empty."""

    @property
    def found(self) -> Mapping[str, str]:
        """Where its services are found."""
        return self.services or {self.name: self.address}


Told = Callable[[Up], None]
"""Hears of each service as it comes up, and of each process that holds several."""
READY_WITHIN_S = 90.0
LAME_DUCK_S = 0.3
"""Of a service with a process of its own: its callers are on this machine, hear within milliseconds that it goes, and wait for it."""
CERTIFICATE_DAYS = 90.0


class NotReady(Exception):
    """A service does not become ready."""


class Ended(Exception):
    """A service's process ended by itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    state: Path
    """Everything that is kept, keys included."""
    port: int = 8080
    """Of the edge; 0 takes a free one."""
    grpc_port: int = 50051
    """First of the row of gRPC ports; 0 serves on unix sockets instead."""
    split: bool = False
    """One process a service, over unix sockets."""
    tls: bool = False
    """With `split`: over TCP and mutual TLS, by an authority made for this mesh."""
    workers: int = 0
    """So many processes hold the road of a request each, beside one for all else; 0 for one process in all."""
    catalogue: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Models beside those of the user's file."""
    servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """MCP servers beside those of the user's file."""
    config: str = ""
    """The user's own settings file."""

    @property
    def several(self) -> bool:
        """Whether it has more than one process of services."""
        return self.split or self.workers > 0

    @property
    def file(self) -> Path:
        return self.state / "mesh.yaml"

    @property
    def run(self) -> Path:
        """Sockets, logs and what tells that the mesh is up."""
        return self.state / "run"

    def address(self, service: str) -> str:
        if (self.split and not self.tls) or not self.grpc_port:
            return f"unix:{self.run / service}.sock"
        return f"127.0.0.1:{self.grpc_port + PORTS[service]}"

    def target(self, service: str) -> str:
        """Where the other services of this mesh find it."""
        return self.address(service) if self.several else f"inproc:{service}"

    def own(self, *path: str) -> Any:
        """What the user's own file says there; None when it says nothing."""
        found: Any = yaml.safe_load(Path(self.config).read_text()) if self.config else None
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def code(self, service: str) -> Path | None:
        """The checkout that `service` runs from; None for this one."""
        file = self._code_of(service)
        return Path(file.read_text()) if file.exists() else None

    def choose_code(self, service: str, code: Path | None) -> None:
        if code is None:
            self._code_of(service).unlink(missing_ok=True)
        else:
            self._code_of(service).write_text(str(code.absolute()))

    def _code_of(self, service: str) -> Path:
        return self.run / f"{service}.code"

    def certificates(self, name: str) -> Tls:
        """Of a service, or of `client`."""
        if not self.tls:
            return PLAIN
        from services.mesh import certificates

        return certificates.files(self.state / "tls", name)

    def write(self, database_url: str, broker: str = "") -> dict[str, Any]:
        """Makes the file and returns what is in it. `database_url` and `broker` count where the user names none.

        Raises:
            OSError, yaml.YAMLError: the user's file is not there or not YAML.
        """
        own = yaml.safe_load(Path(self.config).read_text()) or {} if self.config else {}
        whole: dict[str, Any] = priced(merged(self._defaults(database_url, broker), own))
        private(self.file, yaml.safe_dump(whole, sort_keys=False))
        return whole

    def secrets(self) -> dict[str, str]:
        """Made once, then kept: without them sealed maps, stored answers and keys would be lost."""
        file = self.state / "secrets.yaml"
        kept: dict[str, str] = yaml.safe_load(file.read_text()) if file.exists() else {}
        missing = {name: make() for name, make in MADE.items() if name not in kept}
        if missing:
            kept = {**kept, **missing}
            private(file, yaml.safe_dump(kept))
        return kept

    def _defaults(self, database_url: str, broker: str) -> dict[str, Any]:
        kept = self.secrets()
        sections: dict[str, Any] = {
            name: {
                "serve": {"address": self.address(name)},
                **{peer: self.target(peer) for peer in CALLS.get(name, ())},
            }
            for name in PORTS
        }
        if self.several:
            for name in PORTS:
                sections[name]["serve"]["lame_duck_s"] = LAME_DUCK_S
        if self.tls:
            from services.mesh import certificates

            signer = certificates.authority(self.state / "tls")
            for name in ("edge", *PORTS, "client"):
                signer.keep(name, CERTIFICATE_DAYS)
            for name in PORTS:
                sections[name]["serve"]["tls"] = asdict(self.certificates(name))
        sections["ledger"] |= {"database_url": database_url, "admin_key": kept["admin_key"]}
        sections["guard"] |= {"seal_keys": [kept["seal_key"]], "key": kept["admin_key"]}
        sections["cache"] |= {"store": f"edge:{self.state / 'cache'}", "encryption_key": kept["cache_key"]}
        sections["retrieval"] |= {"store": f"edge:{self.state / 'retrieval'}", "database_url": database_url}
        sections["retrieval"] |= {"key": kept["admin_key"]}
        sections["registry"] |= {"database_url": database_url, "key": kept["admin_key"]}
        sections["router"] |= {"journal": str(self.state / "decisions"), "key": kept["admin_key"]}
        sections["router"] |= {"database_url": database_url}
        sections["orchestrator"] |= {"key": kept["admin_key"]}
        sections["jobs"] |= {"database_url": database_url, "broker": broker}
        sections["jobs"] |= {"key": kept["admin_key"], "webhook_key": kept["webhook_key"]}
        sections["models"] |= {"seal_key": kept["seal_key"]}
        sections["models"] |= {"catalogue": {name: dict(entry) for name, entry in self.catalogue.items()}}
        sections["tools"] |= {"servers": {name: dict(entry) for name, entry in self.servers.items()}}
        sections["edge"] = {
            "listen": {"address": f"127.0.0.1:{self.port}"},
            **{peer: self.target(peer) for peer in CALLS["edge"]},
        }
        if self.tls:
            sections["edge"]["tls"] = asdict(self.certificates("edge"))
        return sections


MADE: Mapping[str, Callable[[], str]] = {
    "admin_key": lambda: f"tw_{secrets.token_urlsafe(32)}",
    "seal_key": lambda: secrets.token_urlsafe(32),
    "cache_key": lambda: secrets.token_urlsafe(32),
    "webhook_key": lambda: secrets.token_urlsafe(32),
}


PRICED = (("models", "catalogue", ""), ("tools", "servers", "tools/"))
"""Whose entries may have prices, and what the ledger has before their names."""


def priced(whole: dict[str, Any]) -> dict[str, Any]:
    """Prices that stand in the entry of a model or an MCP server go where they are kept: to the ledger, under what is said there already."""
    for section, entries, prefix in PRICED:
        whole = _priced(whole, section, entries, prefix)
    return whole


def _priced(whole: dict[str, Any], section: str, entries: str, prefix: str) -> dict[str, Any]:
    said = (whole.get(section) or {}).get(entries) or {}
    found = {
        f"{prefix}{name}": entry["prices"]
        for name, entry in said.items()
        if isinstance(entry, Mapping) and "prices" in entry
    }
    if not found:
        return whole
    rest = {name: {key: value for key, value in entry.items() if key != "prices"} for name, entry in said.items()}
    ledger = whole.get("ledger") or {}
    return {
        **whole,
        section: {**whole[section], entries: rest},
        "ledger": {**ledger, "prices": {**found, **(ledger.get("prices") or {})}},
    }


def merged(below: Any, above: Any) -> Any:
    """`above` over `below`, mappings merged name by name."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    both = {name: merged(below[name], value) if name in below else value for name, value in above.items()}
    return {**below, **both}


def private(file: Path, text: str) -> None:
    """Written whole or not at all, and readable by its owner alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    fresh.rename(file)
