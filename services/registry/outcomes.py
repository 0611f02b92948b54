"""How answers fared under labels with a rollout: gathered, counted together, and acted upon by the rollout's rules."""

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.registry import rollouts
from services.registry.rollouts import Step, Tally
from services.registry.shelf import reached
from services.registry.store import Store
from services.registry.versions import RULES, Label, LabelMoved, RegistryAway

log = logging.getLogger(__name__)

EVERY_S = 0.25
MOST_WAITING = 10_000
"""Labels and versions that outcomes wait for while the database is away: what comes for others is not counted."""

Key = tuple[str, str, str]


@dataclass(slots=True)
class Outcomes:
    store: Store
    _waiting: dict[Key, defaultdict[int, Tally]] = field(default_factory=dict)

    def add(self, key: Key, number: int, one: Tally) -> None:
        """Of an answer under the label `key` (tenant, artifact, label) by version `number`."""
        if key in self._waiting or len(self._waiting) < MOST_WAITING:
            self._waiting.setdefault(key, defaultdict(Tally))[number] += one

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for key, counted in waiting.items():
            try:
                async with reached():
                    await self._counted(key, counted)
            except RegistryAway:
                for number, one in counted.items():
                    self.add(key, number, one)

    async def _counted(self, key: Key, counted: dict[int, Tally]) -> None:
        label = await self.store.label(*key)
        if label is None or label.rollout is None:
            return
        rollout = label.rollout
        sides = {number: one for number, one in counted.items() if number in (label.number, rollout.candidate)}
        all_ = await self.store.tally(label, sides)
        stable, candidate = all_.get(label.number, Tally()), all_.get(rollout.candidate, Tally())
        step = rollouts.decided(rollout, stable, candidate, datetime.now(UTC))
        if step is not None:
            await self._stepped(label, step)

    async def _stepped(self, label: Label, step: Step) -> None:
        assert label.rollout is not None
        number = label.rollout.candidate if step.promoted else label.number
        wanted = replace(
            label, number=number, rollout=step.rollout, moved_by=RULES, moved=datetime.now(UTC), why=step.why
        )
        try:
            await self.store.move(wanted)
        except LabelMoved:
            return  # somebody else saw the same, or a person decided otherwise
        log.info("%s@%s of %s: %s", label.name, label.label, label.tenant, step.why)
