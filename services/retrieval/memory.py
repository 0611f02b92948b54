"""Passages in memory, searched exactly: for tests and simulation."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.retrieval.store import Found, Hit, Passage, Question, Scope, Vector

WORD = re.compile(r"\w+")


@dataclass(slots=True)
class MemoryStore:
    ways: frozenset[str] = frozenset({"bm25", "static", "dense"})
    _kept: dict[str, Passage] = field(default_factory=dict)

    async def of_document(self, tenant: str, collection: str, document_id: str) -> Sequence[Passage]:
        return [one for one in self._kept.values() if _key(one) == (tenant, collection, document_id)]

    async def replace(self, tenant: str, collection: str, document_id: str, passages: Sequence[Passage]) -> None:
        await self.remove(tenant, collection, [document_id])
        self._kept.update({one.id: one for one in passages})

    async def remove(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        gone = [
            one for one in self._kept.values() if _key(one) in {(tenant, collection, name) for name in document_ids}
        ]
        for one in gone:
            del self._kept[one.id]
        return len({one.document_id for one in gone})

    async def add_dense(self, tenant: str, vectors: Mapping[str, Vector]) -> None:
        for one, vector in vectors.items():
            if self._has(tenant, one):
                self._kept[one] = replace(self._kept[one], dense=vector, followed=True)

    async def without_dense(self, most: int) -> Sequence[Passage]:
        return [one for one in self._kept.values() if one.dense is None][:most]

    async def passages(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Passage]:
        return {one: self._kept[one] for one in ids if self._has(tenant, one)}

    async def dense_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Vector]:
        found = ((one, self._kept[one].dense) for one in ids if self._has(tenant, one))
        return {one: dense for one, dense in found if dense is not None}

    async def around(self, passage: Passage, most: int) -> Sequence[Passage]:
        near = [
            one for one in self._kept.values()
            if _key(one) == _key(passage) and abs(one.ordinal - passage.ordinal) <= most
        ]  # fmt: skip
        return sorted(near, key=lambda one: one.ordinal)

    def _has(self, tenant: str, passage_id: str) -> bool:
        return passage_id in self._kept and self._kept[passage_id].tenant == tenant

    async def drop(self) -> None:
        self._kept.clear()

    async def search(self, question: Question, scope: Scope, most: int) -> Found:
        seen = [one for one in self._kept.values() if scope.holds(one)]
        ways = {"bm25": _bm25(question.text, seen)} if question.text else {}
        if question.static is not None:
            left = [one for one in seen if one.dense is None or question.dense is None]
            ways["static"] = [(one, float(one.static @ question.static)) for one in left]
        if question.dense is not None:
            ways["dense"] = [(one, float(one.dense @ question.dense)) for one in seen if one.dense is not None]
        return {
            way: [Hit(one.id, score, one) for one, score in sorted(found, key=lambda pair: -pair[1])[:most]]
            for way, found in ways.items()
        }


def _key(one: Passage) -> tuple[str, str, str]:
    return one.tenant, one.collection, one.document_id


def _bm25(query: str, seen: Sequence[Passage]) -> list[tuple[Passage, float]]:
    """Robertson's BM25, k1 1.2 and b 0.75."""
    words = [Counter(WORD.findall(one.searched.lower())) for one in seen]
    usual = sum(map(Counter.total, words)) / max(1, len(words)) or 1.0
    scores = [0.0] * len(seen)
    for term in set(WORD.findall(query.lower())):
        holds = sum(term in one for one in words)
        rarity = math.log(1 + (len(words) - holds + 0.5) / (holds + 0.5))
        for n, one in enumerate(words):
            often = one[term]
            scores[n] += rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * one.total() / usual))
    return [(one, score) for one, score in zip(seen, scores, strict=True) if score > 0]
