"""Finds and keeps answers: the order of proof, and what feedback changes. No protobuf but the answer's own."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import grpc

from services.cache.keys import Keys
from services.cache.screen import Screen
from services.cache.store import Entry, Selection, Store, StoreAway, Vector, entry_id
from services.cache.verifier import Pair, Verifier

log = logging.getLogger(__name__)

CANDIDATES = 3
LEAST_STATIC = 0.62
"""Cosine of static vectors below which nothing is worth proving."""
LEAST_COSINE = 0.7
"""The same of MiniLM vectors."""
EVICT_EVERY, EVICT_SHARE = 256, 0.05


@dataclass(frozen=True, slots=True)
class Hit:
    entry: Entry
    semantic: bool
    confidence: float


@dataclass(slots=True)
class Cache:
    store: Store
    screen: Screen
    verifier: Verifier
    threshold: float
    """Chance of being right from which a semantic hit is served."""
    most: int = 1_000_000
    now: Callable[[], float] = time.time
    _puts: int = 0

    async def find(self, keys: Keys, vector: Vector | None, max_age: float | None) -> tuple[Hit | None, str]:
        """A hit, or None and why."""
        try:
            entry = await self.store.get(entry_id(keys.exact))
            if entry is not None and entry.exact == keys.exact and self._fresh(entry, max_age):
                return Hit(entry, False, 1.0), ""
            if vector is None or not keys.text:
                return None, "NO_CANDIDATE"
            near = await self.store.nearest(keys.scope, vector, CANDIDATES)
        except StoreAway:
            return None, "UNAVAILABLE"
        near = [
            (entry, score)
            for entry, score in near
            if score >= LEAST_STATIC and entry.tenant == keys.tenant and self._fresh(entry, max_age)
        ]
        if not near:
            return None, "NO_CANDIDATE"
        passed = self.screen.plausible(keys.text, [(entry.text, score) for entry, score in near])
        near = [one for one, plausible in zip(near, passed, strict=True) if plausible]
        if not near:
            return None, "NOT_PROVEN"
        try:
            return await self._proven(keys.text, near)
        except (TimeoutError, grpc.aio.AioRpcError):
            return None, "UNAVAILABLE"

    async def keep(self, entry: Entry) -> None:
        await self.store.put(entry)
        self._puts += 1
        if self._puts % EVICT_EVERY == 0:
            await self._evict()

    async def judge(self, one: str, tenant: str, right: bool) -> bool:
        """Learns whether a hit was right; False when the entry is gone or another tenant's."""
        entry = await self.store.get(one)
        if entry is None or entry.tenant != tenant:
            return False
        await self.store.put(entry.judged(right))
        return True

    async def drop(self, selection: Selection) -> int:
        return await self.store.drop(selection)

    def _fresh(self, entry: Entry, max_age: float | None) -> bool:
        now = self.now()
        return entry.expires > now and (max_age is None or now - entry.stored <= max_age)

    async def _proven(self, text: str, near: list[tuple[Entry, float]]) -> tuple[Hit | None, str]:
        vectors = await self.verifier.minilm([text, *(entry.text for entry, _ in near)])
        pairs = [
            (entry, Pair(entry.text, float(vectors[0] @ other), static))
            for (entry, static), other in zip(near, vectors[1:], strict=True)
            if float(vectors[0] @ other) >= LEAST_COSINE
        ]
        if not pairs:
            return None, "NOT_PROVEN"
        chances = await self.verifier.probabilities(text, [pair for _, pair in pairs])
        best = int(chances.argmax())
        entry, chance = pairs[best][0], float(chances[best])
        if chance < threshold_of(entry, self.threshold):
            return None, "NOT_PROVEN"
        return Hit(entry, True, chance), ""

    async def _evict(self) -> None:
        """Makes room: of the oldest entries those that saved least go first."""
        excess = await self.store.count() - self.most
        if excess <= 0:
            return
        wanted = excess + int(self.most * EVICT_SHARE)
        old = await self.store.oldest(2 * wanted)
        gone = sorted(old, key=lambda one: ((1 + one.right) * (one.cost + 1), one.stored))[:wanted]
        await self.store.remove([one.id for one in gone])


def threshold_of(entry: Entry, threshold: float) -> float:
    """The threshold after feedback: hits that were wrong raise it for their entry, right ones lower it a little.

    The chance of error that is allowed, 1 - threshold, is scaled by (1 + right / 4) / (1 + 3 wrong) and by no
    more than two: an entry that misled twice must be all but certain (after vCache, Schroeder et al. 2025).
    """
    allowed = (1 - threshold) * min(1 + entry.right / 4, 2.0) / (1 + 3 * entry.wrong)
    return 1 - allowed


def aged(entry: Entry, ttl_s: float, now: float) -> Entry:
    return replace(entry, stored=now, expires=now + ttl_s)
