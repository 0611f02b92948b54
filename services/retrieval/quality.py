"""How well documents are found, by questions whose answers are known. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

TOP, DEPTH = 10, 100
SAMPLES = 2000
SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Mean:
    """With the interval that holds it 95 times of 100, by bootstrap over the questions (Efron 1979)."""

    mean: float
    low: float
    high: float


def ndcg(ranked: Sequence[str], gains: Mapping[str, float]) -> float:
    """Normalised discounted cumulative gain of the first ten documents (Järvelin and Kekäläinen 2002), from 0 to 1."""
    got = sum(gains.get(one, 0.0) / math.log2(n + 2) for n, one in enumerate(ranked[:TOP]))
    best = sum(gain / math.log2(n + 2) for n, gain in enumerate(sorted(gains.values(), reverse=True)[:TOP]))
    return got / best


def recall(ranked: Sequence[str], relevant: Mapping[str, float]) -> float:
    """The share of the relevant documents within the first hundred."""
    return len(set(ranked[:DEPTH]) & relevant.keys()) / len(relevant)


def covered(context: str, answer: str) -> bool:
    """Whether the answer's words stand in the context, whatever their case and the spaces between them."""
    return _plain(answer) in _plain(context)


def mean(values: Sequence[float]) -> Mean:
    known = np.array(values, np.float64)
    chance = np.random.default_rng(1)  # the same questions have the same interval
    means = known[chance.integers(0, len(known), (SAMPLES, len(known)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Mean(float(known.mean()), float(low), float(high))


def _plain(text: str) -> str:
    return SPACE.sub(" ", text).strip().casefold()
