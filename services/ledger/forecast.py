"""What a month will have cost at its end, from the days before: pure.

Each day that is left is drawn from days of its kind (working day or weekend) of the last four weeks, after these were
themselves drawn anew with replacement: so the spread holds both how days differ and how little four weeks tell
(double bootstrap, after Efron and Tibshirani 1993, chapter 25).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

RUNS, WEEKS = 2000, 4
LOW, HIGH = 0.1, 0.9
SEED = 20260101
"""The same days give the same forecast."""


@dataclass(frozen=True, slots=True)
class Forecast:
    spent: int
    expected: int
    low: int
    high: int
    days: int
    """Whole days that it rests on."""


def forecast(spent: int, daily: Mapping[date, int], began: date, today: date, left_of_today: float) -> Forecast:
    """`spent` this month so far; `daily` spending by day, from `began` on, the first day with any.

    `left_of_today` is the part of the day to come, from 0 to 1.
    """
    first = max(began, today - timedelta(weeks=WEEKS))
    known = [first + timedelta(days=n) for n in range((today - first).days)]
    if not known:
        return Forecast(spent, spent, spent, spent, 0)
    past = np.array([daily.get(one, 0) for one in known], np.float64)
    free = np.array([_weekend(one) for one in known])
    left = [today + timedelta(days=n) for n in range((_next_month(today) - today).days)]
    weights = np.array([left_of_today, *([1.0] * (len(left) - 1))])
    random = np.random.default_rng(SEED)
    sums = np.zeros(RUNS)
    for kind in (False, True):
        mine = weights[[_weekend(one) is kind for one in left]]
        pool = past[free == kind] if (free == kind).any() else past
        drawn = random.choice(pool, (RUNS, len(pool)))
        picks = random.integers(0, len(pool), (RUNS, len(mine)))
        sums += np.take_along_axis(drawn, picks, 1) @ mine
    low, middle, high = (spent + int(one) for one in np.quantile(sums, (LOW, 0.5, HIGH)))
    return Forecast(spent, middle, low, high, len(known))


def _weekend(day: date) -> bool:
    return day.weekday() >= 5


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
