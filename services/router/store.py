"""What replicas of the router know in common: which conversation is with which model, and what outcomes have taught."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MOST = 100_000
"""Conversations that are remembered in memory."""
FOR_S = 1800.0
"""How long a conversation stays with its model after its last turn."""
LEARNT_DAYS = 90
"""How long what was learnt counts after the last outcome."""

Moved = tuple[float, int]
"""How far a model's ability was moved, and by how many outcomes."""
UNMOVED: Moved = 0.0, 0
Learnt = Mapping[tuple[str, str], Moved]
"""By tenant and model."""


class StoreAway(Exception):
    """The store does not answer."""


class Store(Protocol):
    """Raises `StoreAway` from every method."""

    async def model(self, conversation: bytes) -> str:
        """The model that a conversation, known by its digest, is with; '' for none."""

    async def keep(self, models: Mapping[bytes, str]) -> None:
        """Notes which model each conversation is with now."""

    async def learnt(self) -> Learnt:
        """All that counts."""

    async def move(self, tenant: str, model: str, step: Callable[[Moved], Moved]) -> Moved:
        """Moves an ability by `step`, which nobody else's step comes between; where it is then."""

    async def forget(self) -> None:
        """Drops what counts no more."""


@dataclass(slots=True)
class MemoryStore:
    """Of this process alone; bounded."""

    now: Callable[[], float] = time.monotonic
    _models: OrderedDict[bytes, tuple[str, float]] = field(default_factory=OrderedDict)
    _learnt: dict[tuple[str, str], Moved] = field(default_factory=dict)

    async def model(self, conversation: bytes) -> str:
        found = self._models.get(conversation)
        return found[0] if found is not None and self.now() - found[1] < FOR_S else ""

    async def keep(self, models: Mapping[bytes, str]) -> None:
        for conversation, model in models.items():
            self._models[conversation] = (model, self.now())
            self._models.move_to_end(conversation)
        while len(self._models) > MOST:
            self._models.popitem(last=False)

    async def learnt(self) -> Learnt:
        return dict(self._learnt)

    async def move(self, tenant: str, model: str, step: Callable[[Moved], Moved]) -> Moved:
        made = self._learnt[tenant, model] = step(self._learnt.get((tenant, model), UNMOVED))
        return made

    async def forget(self) -> None:
        """Conversations go as others come."""
