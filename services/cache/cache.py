"""Finds and keeps answers: the order of proof, and what feedback changes. No protobuf but the answer's own."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from msgspec.structs import replace

from services.cache.bound import Bounds
from services.cache.keys import Keys
from services.cache.proof import Judged, Prover
from services.cache.store import Entry, Hopeful, Selection, Store, StoreAway, Vector, entry_id, subject_tag, tagged

CANDIDATES = 8
LEAST_STATIC = 0.62
"""Cosine of static vectors below which nothing is worth proving."""
LONGEST_ASKED = 16_384
"""Characters up to which a text is compared by its meaning: of longer ones too little meets the encoders."""
MOST_SERVED = 10_000
"""Hits whose reports are waited for."""
IDLE_BELOW = 10
"""Look-ups a second below which what is stored meets MiniLM at once, so that the first who asks for it again need not wait."""
EVICT_EVERY, EVICT_SHARE, MOST_EVICTED = 256, 0.05, 2000
"""Every so many stored it is seen whether there are too many; then so much more than that goes, and so many at a time."""


@dataclass(frozen=True, slots=True)
class Age:
    """How old an answer may be, in seconds."""

    most: float | None = None
    """Since it was stored."""
    stale: float = 0.0
    """Since its time was over."""


@dataclass(frozen=True, slots=True)
class Hit:
    entry: Entry
    semantic: bool
    confidence: float
    """Its chance of being right, 1 for the same request."""
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """A semantic hit as it was served."""

    chance: float
    keys: Keys
    vector: Vector | None
    learns: bool
    """Whether the question may be kept."""


@dataclass(slots=True)
class Cache:
    store: Store
    prover: Prover
    bounds: Bounds
    most: int = 1_000_000
    now: Callable[[], float] = time.time
    _puts: int = 0
    _second: int = 0
    _in_second: int = 0
    """Look-ups of the running second."""
    _served: OrderedDict[str, Served] = field(default_factory=OrderedDict)
    """The last semantic hit of an entry, for the report on it."""

    async def find(
        self, keys: Keys, vector: Vector | None, age: Age, learns: Callable[[], bool] = lambda: True
    ) -> tuple[Hit | None, str]:
        """A hit, or None and why. `learns` says whether the question may be kept, should its hit be reported right."""
        if (second := int(self.now())) != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        try:
            entry = await self._same(keys)
            if entry is not None and self._fresh(entry, age):
                return self._hit(entry, False, 1.0), ""
            hopes = self.prover.hopes(keys.text)
            near = await self._near(keys, vector, hopes)
            near = [one for one in near if self._fresh(one[0], age)]
        except StoreAway:
            return None, "UNAVAILABLE"
        bound = self.bounds.of(keys.tenant)
        if not near:
            if vector is not None and keys.text:
                bound.looked_up(None)
            return None, "NOT_PROVEN" if hopes.dashed else "NO_CANDIDATE"
        threshold = bound.threshold()
        try:
            judged = await self.prover.judged(keys.text, near, threshold)
        except (TimeoutError, grpc.aio.AioRpcError):
            return None, "UNAVAILABLE"
        best = max(judged, key=lambda one: one.chance)
        fits = best.fits(threshold)
        bound.looked_up(best.chance, served=fits)
        if not fits:
            return None, "NOT_PROVEN"
        self._served[best.entry.id] = Served(best.chance, keys, vector, learns())
        if len(self._served) > MOST_SERVED:
            self._served.popitem(last=False)
        return self._hit(best.entry, True, best.chance), ""

    async def explain(self, keys: Keys, vector: Vector | None, age: Age) -> tuple[Entry | None, list[Judged]]:
        """The same request's own entry, and how every candidate fares. Nothing is counted.

        Raises:
            StoreAway: the engine does not answer.
        """
        entry = await self._same(keys)
        near = await self._near(keys, vector)
        fresh = [one for one in near if self._fresh(one[0], age)]
        judged = await self.prover.judged(keys.text, fresh, self.bounds.of(keys.tenant).threshold()) if fresh else []
        ended = [Judged(one, static, outcome="EXPIRED") for one, static in near if not self._fresh(one, age)]
        return entry if entry is not None and self._fresh(entry, age) else None, judged + ended

    async def keep(self, entry: Entry) -> None:
        await self.store.put(entry)
        self._puts += 1
        if self._puts % EVICT_EVERY == 0:
            await self._evict()

    @property
    def idle(self) -> bool:
        """Whether there is time to look ahead."""
        return self._in_second < IDLE_BELOW

    async def judge(self, one: str, tenant: str, right: bool) -> bool:
        """Learns whether a hit was right; False when the entry is gone or another tenant's.

        What was asked when it was right is kept as another way to ask for the same answer, as long as that is.
        """
        entry = await self.store.get(one)
        if entry is None or entry.tenant != tenant:
            return False
        served = self._served.pop(one, None)
        if served is not None:
            self.bounds.of(tenant).reported(served.chance, right)
        await self.store.put(entry.judged(right))
        if right and served is not None and served.learns:
            keys = served.keys
            own = replace(entry, id=entry_id(keys.exact), exact=keys.exact, text=keys.text, vector=served.vector)
            await self.keep(replace(own, right=0, wrong=0, tags=tagged(entry.tags, keys.subject)))
        return True

    async def drop(self, selection: Selection) -> int:
        return await self.store.drop(selection)

    async def erase(self, tenant: str, subject: str) -> int:
        """Drops a tenant's entries and what is remembered of who asked; of one end user's digest alone where there is one."""
        for one, served in list(self._served.items()):
            keys = served.keys
            if keys.tenant == tenant and (not subject or keys.subject == subject):
                del self._served[one]
        if not subject:
            self.bounds.forget(tenant)
        return await self.drop(Selection(tenant, subject_tag(subject)))

    async def _same(self, keys: Keys) -> Entry | None:
        entry = await self.store.get(entry_id(keys.exact))
        return entry if entry is not None and entry.exact == keys.exact else None

    async def _near(self, keys: Keys, vector: Vector | None, hopes: Hopeful | None = None) -> list[tuple[Entry, float]]:
        """Entries worth judging, the most like first; none where there is no hope."""
        if vector is None or not keys.text or len(keys.text) > LONGEST_ASKED:
            return []
        near = await self.store.nearest(keys.scope, vector, CANDIDATES, LEAST_STATIC, hopes)
        return [(entry, score) for entry, score in near if entry.tenant == keys.tenant]

    def _fresh(self, entry: Entry, age: Age) -> bool:
        now = self.now()
        return entry.expires + age.stale > now and (age.most is None or now - entry.stored <= age.most)

    def _hit(self, entry: Entry, semantic: bool, chance: float) -> Hit:
        return Hit(entry, semantic, chance, stale=entry.expires <= self.now())

    async def _evict(self) -> None:
        """Makes room: of the oldest entries those that saved least go first."""
        excess = await self.store.count() - self.most
        if excess <= 0:
            return
        wanted = min(excess + int(self.most * EVICT_SHARE), MOST_EVICTED)
        old = await self.store.oldest(2 * wanted)
        gone = sorted(old, key=lambda one: ((1 + one.right) * (one.cost + 1), one.stored))[:wanted]
        await self.store.remove([one.id for one in gone])
