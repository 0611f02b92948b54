"""How soon, and how surely, a shadow tells two versions apart: `python -m benchmarks.shadow_power`.

Simulated pairs of answers, each right or wrong, that are judged one by one and looked at after every one. The stable version is
right in 80 of 100; the candidate as often, 2 in 100 more often, or 2 in 100 less. They differ in 12 of 100 answers. Beside it the
test of a fixed size (McNemar's, one-sided at 5 %, with a power of 80 %), which may be looked at once, at its end.
"""

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import report
from services.registry.sequential import SIZES, Compared

ERROR, POWER_Z, ERROR_Z = 0.05, 0.8416, 1.6449
DIFFERING = 0.12
"""The share of pairs of which one is right and the other wrong."""
EFFECTS = {"equal": 0.0, "better": 0.02, "worse": -0.02}


def pairs(chance: np.random.Generator, effect: float, number: int) -> npt.NDArray[np.float64]:
    """Differences: 1 where the candidate alone is right, -1 where the stable version alone is."""
    up, down = (DIFFERING + effect) / 2, (DIFFERING - effect) / 2
    made: npt.NDArray[np.float64] = chance.choice([1.0, -1.0, 0.0], number, p=[up, down, 1 - up - down])
    return made


def decided(differences: npt.NDArray[np.float64]) -> tuple[str, int]:
    """The verdict of somebody who looks after every pair, and when it came."""
    first = {}
    for word, sign in (("better", 1.0), ("worse", -1.0)):
        logs = np.cumsum(np.log1p(np.outer(SIZES, sign * differences)), axis=1)
        evidence = np.logaddexp.reduce(logs, axis=0) - np.log(len(SIZES))
        crossed = np.flatnonzero(evidence >= np.log(1 / ERROR))
        if len(crossed):
            first[word] = int(crossed[0]) + 1
    if not first:
        return "undecided", len(differences)
    word = min(first, key=lambda one: first[one])
    return word, first[word]


def fixed_size(effect: float) -> int:
    """Pairs that the test of a fixed size needs."""
    spread = ERROR_Z * DIFFERING**0.5 + POWER_Z * (DIFFERING - effect**2) ** 0.5
    return int(np.ceil(spread**2 / effect**2))


def same_as_shipped(chance: np.random.Generator) -> None:
    """The simulation's arithmetic is the registry's own."""
    differences = pairs(chance, 0.02, 2000)
    one = Compared()
    for n, difference in enumerate(differences, 1):
        one = one.with_(float(difference))
        if (verdict := one.verdict(ERROR)) != "undecided":
            assert decided(differences) == (verdict, n)
            return
    assert decided(differences)[0] == "undecided"


def main(runs: int, longest: int) -> None:
    chance = np.random.default_rng(11)
    same_as_shipped(chance)
    facts: dict[str, Any] = {}
    rows = []
    for name, effect in EFFECTS.items():
        found = [decided(pairs(chance, effect, longest)) for _ in report.progress(range(runs), name)]
        when = [n for word, n in found if word == name]
        facts[name] = {word: sum(one == word for one, _ in found) / runs for word in ("better", "worse", "undecided")}
        median = float(np.median(when)) if when else None
        facts[name]["median_samples"] = median
        rows.append((name, *(facts[name][word] for word in ("better", "worse", "undecided")), median or "-"))
    fixed = fixed_size(0.02)
    report.table(
        f"{runs} runs of up to {longest:,} pairs, looked at after each",
        ("candidate", "called better", "called worse", "undecided", "median pairs"),
        rows,
    )
    whole = {
        "false_promotion_rate": max(facts["equal"]["better"], facts["worse"]["better"]),
        "median_samples": facts["better"]["median_samples"],
        "fixed_size_samples": fixed,
        "samples_vs_fixed": facts["better"]["median_samples"] / fixed,
        **facts,
    }
    report.table("beside a fixed size", ("measure", "value"), list(whole.items())[:4])
    report.finish(whole)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=500)
    asked.add_argument("--longest", type=int, default=20_000, help="pairs of one run")
    said = asked.parse_args()
    main(said.runs, said.longest)
