"""The policies in force: the default and those of a folder, read again as their files change."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from services.guard.policy import Policy
from services.guard.policy_file import BadPolicy, parse
from services.guard.rules import Vector

log = logging.getLogger(__name__)

DEFAULT = Path(__file__).parent / "default_policy.yaml"
EVERY_S = 1.0
ALL = "*"


@dataclass(slots=True)
class Policies:
    """`folder` holds `TENANT.yaml` files, and `default.yaml` for everybody else; '' for none."""

    folder: str = ""
    encode: Callable[[list[str]], Awaitable[list[Vector] | None]] | None = None
    """Static vectors of topics' examples; None while nobody can make them."""
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
            await self.teach()

    async def teach(self) -> None:
        """Gives topics the vectors of their examples; until then they forbid nothing."""
        topics = [topic for policy in self._known.values() for topic in policy.topics if topic.prototypes is None]
        for topic in topics if self.encode is not None else ():
            assert self.encode is not None
            if (vectors := await self.encode([*topic.examples, *topic.unlike])) is None:
                return
            topic.prototypes = np.stack(vectors)

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
