"""What replicas of the router know in common: which conversation is with which model, and what outcomes have taught."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from services.runtime.errors import Failure, Kind

MOST = 100_000
"""Conversations that are remembered in memory."""
FOR_S = 1800.0
"""How long a conversation stays with its model after its last turn."""
LEARNT_DAYS = 90
"""How long what was learnt counts after the last outcome."""

Talk = tuple[str, str]
"""The tenant that a conversation is of, and the model that it is with."""
NOTHING = {"conversations": 0, "abilities": 0}
"""How much of each kind is erased where nothing is kept."""
Moved = tuple[float, int]
"""How far a model's ability was moved, and by how many outcomes."""
UNMOVED: Moved = 0.0, 0
Learnt = Mapping[tuple[str, str], Moved]
"""By tenant and model."""


class StoreAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "STORE_AWAY"
    text = "the router's database does not answer"


class Store(Protocol):
    """Raises `StoreAway` from every method."""

    async def model(self, conversation: bytes) -> str:
        """The model that a conversation, known by its digest, is with; '' for none."""

    async def keep(self, talks: Mapping[bytes, Talk]) -> None:
        """Notes which model each conversation is with now."""

    async def learnt(self, within_s: float = 0.0) -> Learnt:
        """All that counts; with `within_s` what was moved within so many seconds."""

    async def move(self, tenant: str, model: str, step: Callable[[Moved], Moved]) -> Moved:
        """Moves an ability by `step`, which nobody else's step comes between; where it is then."""

    async def forget(self) -> None:
        """Drops what counts no more."""

    async def erase(self, tenant: str) -> Mapping[str, int]:
        """Drops what is kept of a tenant; how many there were of each kind."""


@dataclass(slots=True)
class MemoryStore:
    """Of this process alone; bounded."""

    now: Callable[[], float] = time.monotonic
    _talks: OrderedDict[bytes, tuple[Talk, float]] = field(default_factory=OrderedDict)
    _learnt: dict[tuple[str, str], Moved] = field(default_factory=dict)

    async def model(self, conversation: bytes) -> str:
        found = self._talks.get(conversation)
        return found[0][1] if found is not None and self.now() - found[1] < FOR_S else ""

    async def keep(self, talks: Mapping[bytes, Talk]) -> None:
        for conversation, talk in talks.items():
            self._talks[conversation] = (talk, self.now())
            self._talks.move_to_end(conversation)
        while len(self._talks) > MOST:
            self._talks.popitem(last=False)

    async def learnt(self, within_s: float = 0.0) -> Learnt:
        return dict(self._learnt)

    async def move(self, tenant: str, model: str, step: Callable[[Moved], Moved]) -> Moved:
        made = self._learnt[tenant, model] = step(self._learnt.get((tenant, model), UNMOVED))
        return made

    async def forget(self) -> None:
        """Conversations go as others come."""

    async def erase(self, tenant: str) -> Mapping[str, int]:
        talks = [one for one, (talk, _) in self._talks.items() if talk[0] == tenant]
        abilities = [one for one in self._learnt if one[0] == tenant]
        for talk in talks:
            del self._talks[talk]
        for ability in abilities:
            del self._learnt[ability]
        return {"conversations": len(talks), "abilities": len(abilities)}
