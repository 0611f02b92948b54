"""What the router knows beside policies and models: which model a conversation is with, and what outcomes have taught.

Replicas share it by a store. While that is away each goes on with what it knows itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

from services.router.decisions import Decision
from services.router.predictor import EXTRAPOLATED
from services.router.ranking import Model
from services.router.store import UNMOVED, MemoryStore, Moved, Store, StoreAway, Talk

log = logging.getLogger(__name__)

ASKED_WITHIN_S, LEARNT_WITHIN_S = 0.05, 2.0
"""How long the store is waited for by a request, and by an outcome that somebody reports."""
WRITTEN_EVERY_S, READ_EVERY_S, SWEPT_EVERY_S = 0.1, 2.0, 600.0
NEW_S = 60.0
"""What was moved within so long is read each time: longer than one that waits for its turn takes to be written."""
LAST_WORDS_S = 1.0
MOST_WAITING = 10_000
"""Conversations that wait to be written; more are known to this replica alone."""
RATE = 0.05
"""How far one outcome moves an ability, per unit of surprise; it shrinks as outcomes add up."""
CAUTION = 20
"""Outcomes that the prior is worth."""


@dataclass(slots=True)
class Common:
    store: Store | None = None
    """None while nothing is shared."""
    _here: MemoryStore = field(default_factory=MemoryStore)
    _learnt: dict[tuple[str, str], Moved] = field(default_factory=dict)
    _whole: bool = False
    """All that the store had was read, and nothing missed since."""
    _waiting: dict[bytes, Talk] = field(default_factory=dict)

    async def model(self, tenant: str, conversation: str) -> str:
        """The model that a conversation of `tenant` is with; '' for none."""
        digest = digest_of(tenant, conversation)
        if self.store is not None:
            try:
                async with asyncio.timeout(ASKED_WITHIN_S):
                    found = await self.store.model(digest)
            except (StoreAway, TimeoutError):
                found = ""
            if found:
                return found
        return await self._here.model(digest)

    async def keep(self, tenant: str, conversation: str, model: str) -> None:
        """Other replicas know it a moment later."""
        digest = digest_of(tenant, conversation)
        await self._here.keep({digest: (tenant, model)})
        if self.store is not None and len(self._waiting) < MOST_WAITING:
            self._waiting[digest] = tenant, model

    def ability(self, tenant: str, model: Model) -> float:
        """The model's own, moved by this tenant's outcomes."""
        return model.ability + self._learnt.get((tenant, model.name), UNMOVED)[0] if self._learnt else model.ability

    async def learn(self, decision: Decision, tenant: str, model: Model, good: bool) -> None:
        """Moves the ability towards the outcome. While the store is away it counts until it is back."""
        step = partial(moved, decision, model, good)
        try:
            async with asyncio.timeout(LEARNT_WITHIN_S):
                made = await (self.store or self._here).move(tenant, model.name, step)
        except (StoreAway, TimeoutError):
            log.warning("the router's database is away: an outcome counts in this replica alone, until it is back")
            made = step(self._learnt.get((tenant, model.name), UNMOVED))
        self._learnt[tenant, model.name] = made

    async def erase(self, tenant: str) -> Mapping[str, int]:
        """Drops what is kept of a tenant; how many there were of each kind. Other replicas forget what they read before in their time.

        Raises:
            StoreAway: only what this replica knew itself is gone.
        """
        self._waiting = {one: talk for one, talk in self._waiting.items() if talk[0] != tenant}
        self._learnt = {one: far for one, far in self._learnt.items() if one[0] != tenant}
        here = await self._here.erase(tenant)
        return await self.store.erase(tenant) if self.store is not None else here

    async def share(self, store: Store) -> None:
        """Exchanges what is new with the other replicas by `store`, until cancelled; what waits then is written."""
        self.store = store
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_every(READ_EVERY_S, partial(self._read, store)))
                group.create_task(_every(WRITTEN_EVERY_S, partial(self._write, store)))
                group.create_task(_every(SWEPT_EVERY_S, store.forget))
        finally:
            self.store = None
            with contextlib.suppress(StoreAway, TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._write(store)

    async def _read(self, store: Store) -> None:
        """All at first and after an absence, then what is new."""
        whole, self._whole = self._whole, False
        found = await store.learnt(NEW_S if whole else 0.0)
        if not whole:
            self._learnt.clear()
        self._learnt.update(found)
        self._whole = True

    async def _write(self, store: Store) -> None:
        if self._waiting:
            talks, self._waiting = self._waiting, {}
            try:
                await store.keep(talks)
            except StoreAway:
                self._waiting = {**talks, **self._waiting}
                raise


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    away = False
    while True:
        try:
            await work()
        except StoreAway:
            if not away:
                log.warning("the router's database is away: replicas do not hear of each other until it is back")
            away = True
        else:
            away = False
        await asyncio.sleep(seconds)


def moved(decision: Decision, model: Model, good: bool, before: Moved) -> Moved:
    """An online step of the Rasch likelihood towards an outcome."""
    far, outcomes = before
    expected = decision.chance(model, model.ability + far)
    step = RATE * 20 / (1 + outcomes / CAUTION) * (good - expected)
    return max(-EXTRAPOLATED, min(EXTRAPOLATED, far + step)), outcomes + 1


def digest_of(tenant: str, conversation: str) -> bytes:
    made = blake2b(tenant.encode(), digest_size=16)
    made.update(b"\0" + conversation.encode())
    return made.digest()
