"""From passages that each way of searching found to the few that are given. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from services.retrieval.store import Found, Passage, Vector

WEIGHTS = {"bm25": 1.0, "static": 0.4, "dense": 1.0}
FLOOR = 0.2
"""What the last of a list counts, where its first counts 1: more than what was not found at all."""
COMPANY, SHARPNESS = 60, 2.0
"""How many of the first passages are looked at together; a neighbour that is one standard deviation of their cosines nearer than
another counts e to that power as much."""
SHARE, SHARE_NAMED = 0.5, 0.25
"""What the neighbours' scores count beside a passage's own; less where the question names what a single passage may hold."""
NAMED = re.compile(r"\"[^\"]+\"|\w*(?:\d[^\W\d]|[^\W\d]\d)\w*|\w+[_./\\#]\w+|\d{4,}")
"""A quotation, or a code, an identifier, a path, a long number."""
SHINGLE, TWIN = 3, 0.8
"""Words in a row, and the share of them that two passages have in common from which they say the same."""
WORD = re.compile(r"\w+")


@dataclass(slots=True)
class Scored:
    """A passage before it is read."""

    id: str
    passage: Passage | None
    score: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranked:
    passage: Passage
    score: float
    parts: Mapping[str, float]
    also_in: tuple[str, ...] = ()
    before: str = field(default="", compare=False)
    after: str = field(default="", compare=False)


def fused(found: Found, most: int) -> list[Scored]:
    """The `most` best by the sum of their scores, each stretched over its list and weighted by way (Fox and Shaw 1994)."""
    made: dict[str, Scored] = {}
    for way, listed in found.items():
        scores = [hit.score for hit in listed]
        low, high = (min(scores), max(scores)) if scores else (0.0, 0.0)
        weight, span = WEIGHTS[way], high - low
        for name, score, passage in listed:
            one = made.get(name)
            if one is None:
                one = made[name] = Scored(name, passage)
            one.parts[way] = score
            place = (score - low) / span if span > 0 else 1.0
            one.score += weight * (FLOOR + (1 - FLOOR) * place)
    return sorted(made.values(), key=lambda one: -one.score)[:most]


def in_company(question: str, scored: Sequence[Scored], vectors: Mapping[str, Vector]) -> list[Scored]:
    """In the order of each passage's score together with those of the ones that say the like: what answers a question lies together,
    and what stands alone among the first is there by chance more often (score regularisation, Diaz 2005). `vectors` are of
    unit length; a passage without one keeps its score.
    """
    near = [one for one in scored if one.id in vectors]
    if len(near) < 3:
        return list(scored)
    share = SHARE_NAMED if NAMED.search(question) else SHARE
    rows = np.stack([vectors[one.id] for one in near])
    alike = rows @ rows.T
    spread = max(float(alike[~np.eye(len(near), dtype=bool)].std()), 1e-6)  # models differ in it
    np.fill_diagonal(alike, -np.inf)
    weights = np.exp(SHARPNESS / spread * (alike - alike.max(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    own = np.array([one.score for one in near])
    mixed = (1 - share) * own + share * (weights @ own)
    for one, score in zip(near, mixed.tolist(), strict=True):
        one.score = score
    return sorted(scored, key=lambda one: -one.score)


def decayed(ranked: Sequence[Ranked], now: float, half_life_s: float) -> list[Ranked]:
    """Scores halved with each `half_life_s` since the document was made searchable."""
    older = [
        replace(one, score=one.score * 0.5 ** (max(now - one.passage.indexed, 0.0) / half_life_s)) for one in ranked
    ]
    return sorted(older, key=lambda one: -one.score)


def distinct(ranked: Sequence[Ranked], most: int) -> list[Ranked]:
    """The `most` first; of passages that say the same in nearly the same words the best stands for all, and names the others'
    documents. That is one piece of evidence, whatever number of documents it was copied to.
    """
    made: list[Ranked] = []
    shingles: list[frozenset[tuple[str, ...]]] = []
    for one in ranked:
        own = _shingles(one.passage.text)
        twin = next((n for n, other in enumerate(shingles) if _alike(own, other) >= TWIN), None)
        if twin is None:
            if len(made) == most:
                continue
            made.append(one)
            shingles.append(own)
            continue
        if one.passage.document_id not in (made[twin].passage.document_id, *made[twin].also_in):
            made[twin] = replace(made[twin], also_in=(*made[twin].also_in, one.passage.document_id))
    return made


def diverse(ranked: Sequence[Ranked], vectors: Mapping[str, Vector], weight: float, most: int) -> list[Ranked]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): each is picked for its score, less `weight` of its cosine to
    the nearest that was picked before. `vectors` are of unit length; a passage without one is like none.
    """
    high = max((one.score for one in ranked), default=0.0) or 1.0
    left, picked = list(ranked), list[Ranked]()
    nearest = dict.fromkeys((one.passage.id for one in left), 0.0)
    while left and len(picked) < most:
        best = max(left, key=lambda one: (1 - weight) * one.score / high - weight * nearest[one.passage.id])
        left.remove(best)
        picked.append(best)
        if (vector := vectors.get(best.passage.id)) is not None:
            for one in left:
                if (other := vectors.get(one.passage.id)) is not None:
                    nearest[one.passage.id] = max(nearest[one.passage.id], float(vector @ other))
    return picked


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = WORD.findall(text.casefold())
    return frozenset(zip(*(words[n:] for n in range(SHINGLE)), strict=False)) or frozenset({tuple(words)})


def _alike(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """Jaccard's index."""
    shared = len(a & b)
    return shared / max(len(a) + len(b) - shared, 1)
