"""Finds passages: by words, static and dense vectors at once, and puts them in order."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.retrieval.generations import Generations
from services.retrieval.ranking import COMPANY, Ranked, Scored, decayed, distinct, diverse, fused, in_company
from services.retrieval.reranker import Reranker, RerankerAway
from services.retrieval.store import Hit, Passage, Question, Scope, Vector

log = logging.getLogger(__name__)

CANDIDATES = 100
TWINS = 4
"""How many times as many as are wanted are looked through for passages that say the same."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many passages, and how they are chosen; all off by default."""

    most: int = 5
    diversity: float = 0.0
    half_life_s: float = 0.0
    neighbours: int = 0


@dataclass(slots=True)
class Search:
    store: Generations
    reranker: Reranker | None = None
    budget_s: float = 0.2
    """That the second stage may take after the first: what comes later is not waited for."""
    now: Callable[[], float] = time.time

    async def search(self, text: str, static: Vector | None, scope: Scope, wish: Wish) -> list[Ranked]:
        """The best passages that `scope` allows.

        Raises:
            StoreAway
        """
        if static is None:
            static = (await self.store.active.encoding.static([text]))[0]
        dense = await self.store.active.encoding.question(text) if "dense" in self.store.ways else None
        wanted = max(CANDIDATES, wish.most)
        scored, vectors = fused(await self.store.search(Question(text, static, dense), scope, wanted), wanted), {}
        if dense is not None:
            vectors = dict(await self.store.dense_of(scope.tenant, [one.id for one in scored[:COMPANY]]))
            scored = in_company(text, scored, vectors)
        every = self.reranker is not None or wish.half_life_s
        ranked = await self._judged(text, await self._read(scope, scored if every else scored[: wish.most * TWINS]))
        if wish.half_life_s:
            ranked = decayed(ranked, self.now(), wish.half_life_s)
        if wish.diversity:
            ranked = distinct(ranked, len(ranked))
            if unread := [one.passage.id for one in ranked if one.passage.id not in vectors]:
                vectors |= await self.store.dense_of(scope.tenant, unread)
            ranked = diverse(ranked, vectors, wish.diversity, wish.most)
        else:
            ranked = distinct(ranked[: wish.most * TWINS], wish.most)
        return [await self._among(one, wish.neighbours) for one in ranked] if wish.neighbours else ranked

    async def _read(self, scope: Scope, scored: Sequence[Scored]) -> list[Ranked]:
        """With their passages; what went meanwhile is left out."""
        known = await self._passages(scope, scored)
        return [Ranked(known[one.id], one.score, one.parts) for one in scored if one.id in known]

    async def _passages(self, scope: Scope, found: Sequence[Hit | Scored]) -> Mapping[str, Passage]:
        """By id; only those that the engine did not give along are asked for. An engine may filter by digests: what is given to
        somebody is compared whole.
        """
        missing = [one.id for one in found if one.passage is None]
        read = await self.store.passages(scope.tenant, missing) if missing else {}
        every = {**read, **{one.id: one.passage for one in found if one.passage is not None}}
        return {name: passage for name, passage in every.items() if scope.holds(passage)}

    async def nearest(self, text: str, scope: Scope, most: int) -> list[Passage]:
        """Passages that the dense model alone finds: what a comparison of models looks at.

        Raises:
            StoreAway
            grpc.aio.AioRpcError: the model is busy or away.
        """
        (dense,) = await self.store.active.encoding.dense([text])
        hits = (await self.store.search(Question("", None, dense), scope, most)).get("dense", ())
        found = await self._passages(scope, hits)
        return [found[hit.id] for hit in hits if hit.id in found]

    async def _judged(self, text: str, ranked: list[Ranked]) -> list[Ranked]:
        if self.reranker is None or not ranked:
            return ranked
        try:
            scores = await self.reranker.scores(text, [one.passage.searched for one in ranked], self.budget_s)
        except RerankerAway as error:
            log.info("the first order stands: the re-ranker %s", error)
            return ranked
        told = [
            replace(one, score=score, parts={**one.parts, "reranker": score})
            for one, score in zip(ranked, scores, strict=True)
        ]
        return sorted(told, key=lambda one: -one.score)

    async def _among(self, one: Ranked, most: int) -> Ranked:
        near = await self.store.around(one.passage, most)
        before = "\n\n".join(each.text for each in near if each.ordinal < one.passage.ordinal)
        after = "\n\n".join(each.text for each in near if each.ordinal > one.passage.ordinal)
        return replace(one, before=before, after=after)
