"""The tenants' routing policies: those of the settings, and files over them that are read again as they change."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from services.router.meaning import Meaning
from services.router.policy import Policy
from services.router.routes import Routes, faults, routes
from services.runtime.settings import BadSettings, read

log = logging.getLogger(__name__)

EVERYBODY, DEFAULT = "*", "default"
"""The tenant that stands for those without a policy of their own, and what its file is called."""
EVERY_S = 1.0
USUAL, NO_ROUTES = Policy(), Routes()

Known = tuple[Policy, Routes]


@dataclass(slots=True)
class Policies:
    """`folder` holds `TENANT.yaml` files and `default.yaml`, a policy each; '' for none."""

    settled: Mapping[str, Policy] = field(default_factory=dict)
    """By tenant, of the settings."""
    folder: str = ""
    revision: int = 0
    _known: dict[str, Known] = field(default_factory=dict)
    _seen: dict[Path, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """
        Raises:
            BadSettings: of a policy of the settings, or of a file.
        """
        if wrong := [
            one for tenant, policy in self.settled.items() for one in faults(f"router.policies.{tenant}", policy)
        ]:
            raise BadSettings("; ".join(wrong))
        self._known = {tenant: (policy, routes(policy)) for tenant, policy in self.settled.items()}
        for tenant, known in self._changes():
            self._put(tenant, known)

    def of(self, tenant: str) -> Policy:
        return self._of(tenant)[0]

    def routes(self, tenant: str) -> Routes:
        return self._of(tenant)[1]

    def _of(self, tenant: str) -> Known:
        return self._known.get(tenant) or self._known.get(EVERYBODY) or (USUAL, NO_ROUTES)

    async def after(self, revision: int) -> int:
        """How often policies have changed, once that is another number than `revision`."""
        while self.revision == revision:
            await self._changed.wait()
        return self.revision

    async def follow(self, meaning: Meaning, every_s: float = EVERY_S) -> None:
        """Reads changed files until cancelled, and has examples encoded. A faulty file leaves what was in force."""
        while True:
            await meaning.learn([like for _, among in self._known.values() for like in among.likes])
            await asyncio.sleep(every_s)
            try:
                for tenant, known in self._changes():
                    if known is not None:
                        await meaning.learn(known[1].likes)  # what was in force stays so until these can be told
                    self._put(tenant, known)
            except BadSettings as fault:
                log.error("policy not taken: %s", fault)

    def _changes(self) -> Iterator[tuple[str, Known | None]]:
        """Of the files: what holds from now on for a tenant, None for what holds for everybody.

        Raises:
            BadSettings: of a file; those after it come the next time.
        """
        files = sorted(Path(self.folder).glob("*.yaml")) if self.folder else []
        for file in files:
            try:
                changed = file.stat().st_mtime_ns
            except FileNotFoundError:  # since it was listed
                continue
            if self._seen.get(file) != changed:
                self._seen[file] = changed
                policy = parsed(file)
                yield _tenant(file), (policy, routes(policy))
        for gone in self._seen.keys() - set(files):
            del self._seen[gone]
            settled = self.settled.get(_tenant(gone))
            yield _tenant(gone), (settled, routes(settled)) if settled is not None else None

    def _put(self, tenant: str, known: Known | None) -> None:
        if known is None:
            self._known.pop(tenant, None)
        else:
            self._known[tenant] = known
        told, self._changed, self.revision = self._changed, asyncio.Event(), self.revision + 1
        told.set()


def parsed(file: Path) -> Policy:
    """
    Raises:
        BadSettings: names every fault of the file, with its place.
    """
    try:
        said = yaml.safe_load(file.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSettings(f"{file.name}: {error}") from None
    made = read(Policy, said, file.name)
    if wrong := faults(file.name, made):
        raise BadSettings("; ".join(wrong))
    return made


def _tenant(file: Path) -> str:
    return EVERYBODY if file.stem == DEFAULT else file.stem
