"""What the comparisons of a shadow say of its candidate. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.registry.sequential import Compared

TARGET = 0.9
"""The share of agreement that is good enough where nothing else is said."""
ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Measure:
    """By what two answers are compared."""

    name: str
    target: float = TARGET
    judges: bool = False
    """It tells how good an answer is by itself: no agreement is asked for."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The scores of both sides by measure."""

    candidate: Mapping[str, float]
    live: Mapping[str, float]
    expected: bool
    """They are against a correct answer; else the live answer stands for it, and the candidate's score is how far it agrees."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one measure found."""

    differences: Compared = field(default_factory=Compared)
    candidate: float = 0.0
    """The sum of its scores."""
    live: float = 0.0
    """The sum of the others', or of the agreement that was asked for."""

    def verdict(self, error: float, measures: int) -> str:
        """`better`, `worse` or `undecided`. With several measures each has its part of the chance to call a good candidate worse;
        to be called better it must be better by all."""
        if self.differences.below >= measures / error:
            return "worse"
        return "better" if self.differences.above >= 1 / error else "undecided"


def counted(found: Found, measure: Measure, pair: Pair) -> Found:
    """With one pair more."""
    candidate = pair.candidate.get(measure.name, 0.0)
    live = pair.live.get(measure.name, 0.0) if pair.expected or measure.judges else measure.target
    difference = min(max(candidate - live, -1.0), 1.0)
    return Found(found.differences.with_(difference), found.candidate + candidate, found.live + live)


def overall(found: Iterable[Found], error: float) -> str:
    """Of all measures together."""
    several: Sequence[Found] = list(found)
    each = [one.verdict(error, len(several)) for one in several]
    if "worse" in each:
        return "worse"
    return "better" if each and all(one == "better" for one in each) else "undecided"
