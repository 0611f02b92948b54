"""How sure a mean is: 95 % intervals of scores, and of differences case by case. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959964
FEW = 2000
"""Up to so many differences their mean's interval is found by resampling; beyond, the normal one is as good."""
RESAMPLES, SEED = 2000, 20240501
LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one measure between two runs."""

    before: float
    after: float
    low: float
    high: float
    regressions: tuple[str, ...]
    """Cases that score less, the worst first."""
    improved: int


def of_mean(scores: Sequence[float]) -> Interval:
    """Of scores from 0 to 1, by Wilson's score interval: no narrower than it should be, whatever lies between (a mean has the
    most variance when all scores are 0 or 1)."""
    count = len(scores)
    if not count:
        return Interval(0.0, 0.0, 1.0)
    mean = math.fsum(scores) / count
    part = Z * Z / count
    centre = (mean + part / 2) / (1 + part)
    half = Z * math.sqrt(mean * (1 - mean) / count + part / (4 * count)) / (1 + part)
    return Interval(mean, max(min(centre - half, mean), 0.0), min(max(centre + half, mean), 1.0))


def of_difference(before: Mapping[str, float], after: Mapping[str, float]) -> Difference:
    """Over the cases that both have: the bootstrap's percentile interval of the mean difference (Efron and Tibshirani, 1993)."""
    cases = [case for case in before if case in after]
    if not cases:
        return Difference(0.0, 0.0, -1.0, 1.0, (), 0)
    old, new = np.array([before[case] for case in cases]), np.array([after[case] for case in cases])
    differences = new - old
    mean, count = float(differences.mean()), len(cases)
    if count <= FEW:
        chance = np.random.default_rng(SEED)
        means = differences[chance.integers(0, count, (RESAMPLES, count))].mean(axis=1)
        low, high = (float(one) for one in np.percentile(means, [2.5, 97.5]))
    else:
        half = Z * float(differences.std(ddof=1)) / math.sqrt(count)
        low, high = mean - half, mean + half
    worse = [cases[n] for n in np.argsort(differences, kind="stable") if differences[n] < -LEAST]
    return Difference(float(old.mean()), float(new.mean()), low, high, tuple(worse), int((differences > LEAST).sum()))
