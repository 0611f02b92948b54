"""How soon a probe sees that a model has begun to answer otherwise: `python -m benchmarks.drift_power`.

Simulated rounds of 20 answers: each case has a likeness, a length and a time of its own, with noise around them. At a random
round one of them changes, by a little or by much. Beside it, how many of as many runs without any change raise an alarm.
"""

import argparse
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import report
from services.registry.drifting import FALSE_ALARM_EVERY
from services.registry.probes import Watched
from services.registry.probing import Seen, judged

CASES, LONGEST = 20, 30
CHANGES: dict[str, dict[str, float]] = {
    "answers less alike by 0.05": {"unlike": 0.05},
    "answers less alike by 0.15": {"unlike": 0.15},
    "a quarter longer": {"length": 1.25},
    "twice as long": {"length": 2.0},
    "a quarter slower": {"slower": 1.25},
    "twice as slow": {"slower": 2.0},
    "refuses 1 in 10": {"refuses": 0.1},
    "refuses 4 in 10": {"refuses": 0.4},
}


@dataclass
class Provider:
    """Answers rounds, and can begin to answer otherwise."""

    chance: random.Random
    unlike: float = 0.0
    length: float = 1.0
    slower: float = 1.0
    refuses: float = 0.01
    cases: list[tuple[str, float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = self.chance
        self.cases = [(f"c{n}", draw.uniform(0.85, 1.0), draw.randint(20, 200)) for n in range(CASES)]

    def round(self) -> list[Seen]:
        cases = self.cases[:]
        self.chance.shuffle(cases)
        return [self._answer(*case) for case in cases]

    def _answer(self, name: str, alike: float, tokens: int) -> Seen:
        draw = self.chance
        likeness = min(alike + draw.gauss(0, 0.03), 1.0) - self.unlike
        count = max(int(tokens * draw.uniform(0.8, 1.25) * self.length), 1)
        took = count * 0.01 * draw.lognormvariate(0, 0.3) * self.slower
        return Seen(name, "text", likeness, count, took, draw.random() < self.refuses, "fp_1")


def rounds_until(provider: Provider, one: Watched, most: int) -> int:
    """Rounds until an alarm; `most` + 1 when there is none."""
    for n in range(1, most + 1):
        if judged(one, provider.round(), FALSE_ALARM_EVERY, provider.chance):
            return n
    return most + 1


def main(runs: int) -> None:
    facts: dict[str, Any] = {"changes": {}}
    rows = []
    for name, change in CHANGES.items():
        took = []
        for n in report.progress(range(runs), name):
            provider, one = Provider(random.Random(n)), Watched("t", "p", "m")
            before = provider.chance.randint(10, 40)
            if rounds_until(provider, one, before) <= before:
                continue  # a false alarm
            for attribute, value in change.items():
                setattr(provider, attribute, value)
            took.append(rounds_until(provider, one, LONGEST))
        seen = float(np.mean(np.array(took) <= LONGEST))
        facts["changes"][name] = {
            "seen": seen,
            "median_rounds": float(np.median(took)),
            "p95_rounds": float(np.percentile(took, 95)),
        }
        rows.append((name, seen, float(np.median(took)), float(np.percentile(took, 95))))
    report.table(
        f"rounds of {CASES} answers until an alarm, {runs} runs", ("change", "seen", "median", "95 of 100"), rows
    )
    quiet = 0
    for n in report.progress(range(runs), "no change"):
        provider = Provider(random.Random(50_000 + n))
        quiet += rounds_until(provider, Watched("t", "p", "m"), LONGEST) <= LONGEST
    facts |= {
        "false_alarm_runs": quiet / runs,
        "false_alarm_runs_stated": (LONGEST - 6) * CASES * 4 / FALSE_ALARM_EVERY,
    }
    report.table("without a change", ("measure", "value"), list(facts.items())[1:])
    report.finish(facts)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=1000)
    main(asked.parse_args().runs)
