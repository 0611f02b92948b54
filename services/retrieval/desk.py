"""The quality desk: asks a set of questions as callers would, measures, and compares with the run before."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from services.retrieval.catalogue import Catalogue
from services.retrieval.quality import DEPTH, Mean, covered, mean, ndcg, recall
from services.retrieval.search import Search, Wish
from services.retrieval.store import Scope

MOVED = 20
PASSAGES = 3
"""Asked for, for each document that counts: one document may have many passages."""


@dataclass(frozen=True, slots=True)
class Case:
    query: str
    relevant: Mapping[str, float]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    recall: Mean
    ndcg: Mean
    coverage: Mean | None
    """None where no question has an answer."""
    before: float = 0.0
    """When the run before was; 0 for the first."""
    drift: Mean | None = None
    """Of nDCG, over questions of both runs."""
    moved: Sequence[tuple[str, float, float]] = ()
    """(question, nDCG before, now), those that changed most, worst first."""


@dataclass(slots=True)
class QualityDesk:
    search: Search
    catalogue: Catalogue
    now: Callable[[], float] = time.time

    async def run(self, name: str, scope: Scope, cases: Sequence[Case], context: int) -> Report:
        gains, recalls, covers = list[float](), list[float](), list[float]()
        for case in cases:
            found = await self.search.search(case.query, None, scope, Wish(DEPTH * PASSAGES))
            documents = list(dict.fromkeys(one.passage.document_id for one in found))
            gains.append(ndcg(documents, case.relevant))
            recalls.append(recall(documents, case.relevant))
            if case.answer:
                said = "\n".join(one.passage.text for one in found[:context])
                covers.append(float(covered(said, case.answer)))
        scores = {_name(case.query): gain for case, gain in zip(cases, gains, strict=True)}
        before = await self.catalogue.last_evaluation(scope.tenant, name)
        await self.catalogue.evaluated(scope.tenant, name, self.now(), scores)
        made = Report(mean(recalls), mean(gains), mean(covers) if covers else None)
        if before is None:
            return made
        known = [(case.query, before[1][one]) for case in cases if (one := _name(case.query)) in before[1]]
        moved = [(query, was, scores[_name(query)]) for query, was in known]
        drift = mean([now - was for _, was, now in moved]) if moved else None
        most = sorted((one for one in moved if one[1] != one[2]), key=lambda one: -abs(one[2] - one[1]))[:MOVED]
        return replace(made, before=before[0], drift=drift, moved=sorted(most, key=lambda one: one[2] - one[1]))


def _name(query: str) -> str:
    """Questions are kept by their hash: a run tells nothing of what was asked."""
    return sha256(query.encode()).hexdigest()[:16]
