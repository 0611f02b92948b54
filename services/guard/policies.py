"""The policies in force: the default and those of a folder, read again as their files change."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from services.guard.policy import BadPolicy, Policy, parse

log = logging.getLogger(__name__)

DEFAULT = Path(__file__).parent / "default_policy.yaml"
EVERY_S = 1.0
ALL = "*"


@dataclass(slots=True)
class Policies:
    """`folder` holds `TENANT.yaml` files, and `default.yaml` for everybody else; '' for none."""

    folder: str = ""
    _known: dict[str, Policy] = field(default_factory=dict)
    _seen: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known[ALL] = parse(DEFAULT.read_text(), ALL)
        self._load()

    def of(self, tenant: str) -> Policy:
        return self._known.get(tenant) or self._known[ALL]

    def all(self) -> list[Policy]:
        return [self._known[name] for name in sorted(self._known)]

    async def follow(self) -> None:
        """Reads changed files until cancelled. A faulty file leaves what was in force."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self._load()
            except BadPolicy as fault:
                log.error("policy not taken: %s", fault)

    def _load(self) -> None:
        files = sorted(Path(self.folder).glob("*.yaml")) if self.folder else []
        for file in files:
            changed = file.stat().st_mtime_ns
            if self._seen.get(file) == changed:
                continue
            self._seen[file] = changed
            tenant = ALL if file.stem == "default" else file.stem
            self._known[tenant] = parse(file.read_text(), tenant)
        for gone in self._seen.keys() - set(files):
            del self._seen[gone]
            if gone.stem == "default":
                self._known[ALL] = parse(DEFAULT.read_text(), ALL)
            else:
                self._known.pop(gone.stem, None)
