"""Brings the ways of searching together into one order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.retrieval.store import Found, Passage

WEIGHTS = {"bm25": 1.0, "static": 0.4, "dense": 1.0}
K = 10.0
"""Of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): small, since lists here are short."""
BLEND = 0.5
"""Share of the scores themselves, each stretched to 0..1 over its list, against ranks."""


@dataclass(frozen=True, slots=True)
class Fused:
    passage: Passage
    score: float
    parts: Mapping[str, float]


def fused(found: Found, most: int) -> list[Fused]:
    """The `most` best: by reciprocal rank and stretched score, weighted by way; equal passages once."""
    totals: dict[str, float] = {}
    parts: dict[str, dict[str, float]] = {}
    known: dict[str, Passage] = {}
    for way, listed in found.items():
        low, high = _range([score for _, score in listed])
        for rank, (passage, score) in enumerate(listed):
            stretched = (score - low) / (high - low) if high > low else 1.0
            gain = WEIGHTS[way] * ((1 - BLEND) * K / (K + rank) + BLEND * stretched)
            totals[passage.id] = totals.get(passage.id, 0.0) + gain
            parts.setdefault(passage.id, {})[way] = score
            known[passage.id] = passage
    order = sorted(totals, key=lambda one: -totals[one])
    made: list[Fused] = []
    seen: set[str] = set()
    for one in order:
        if known[one].digest not in seen:  # the same passage in two documents is one piece of evidence
            seen.add(known[one].digest)
            made.append(Fused(known[one], totals[one], parts[one]))
    return made[:most]


def _range(scores: Sequence[float]) -> tuple[float, float]:
    return (min(scores), max(scores)) if scores else (0.0, 0.0)
