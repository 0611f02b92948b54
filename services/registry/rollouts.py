"""When a candidate is given more requests, and when it is taken back. Pure."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.registry import sequential
from services.runtime.errors import Failure, Kind

STEP = timedelta(minutes=10)
STEP_ANSWERS = 100
MOST_FAILURES = 0.02
ERROR = 0.01
"""The chance that a candidate is taken back that fails no more often than it may, however long its rollout lasts."""
LATENCY_ANSWERS = 100


class RampUnfit(Failure):
    kind, reason = Kind.INVALID, "RAMP_UNFIT"
    text = "each share of the ramp is higher than the one before"
    field = "rollout.rules.ramp"


@dataclass(frozen=True, slots=True)
class Rules:
    ramp: tuple[float, ...] = ()
    step: timedelta = STEP
    step_answers: int = STEP_ANSWERS
    most_failures: float = MOST_FAILURES
    slowest: float = 0.0
    """How many times slower than the stable version it may be; 0 for no limit."""
    promote: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    candidate: int
    share: float
    rules: Rules = field(default_factory=Rules)
    began: int = 0
    """The label's revision that it began with: answers are counted from there."""
    step_began: datetime | None = None
    step_from: int = 0
    """The candidate's answers at that time."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How a version's answers fared since its rollout began."""

    answers: int = 0
    failed: int = 0
    took: timedelta = timedelta()
    """All of those that did not fail, together."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.answers + other.answers, self.failed + other.failed, self.took + other.took)

    @property
    def mean(self) -> timedelta:
        good = self.answers - self.failed
        return self.took / good if good else timedelta()


@dataclass(frozen=True, slots=True)
class Step:
    """What the rules want: another share, the candidate alone (`promoted`), or none of it (neither)."""

    why: str
    rollout: Rollout | None = None
    promoted: bool = False


def checked(rules: Rules) -> Rules:
    """
    Raises:
        RampUnfit
    """
    if any(after <= before for before, after in zip(rules.ramp, rules.ramp[1:], strict=False)):
        raise RampUnfit
    return rules


def chosen(rollout: Rollout | None, subject: str, name: str) -> bool:
    """Whether `subject` is answered by the candidate: always the same for as long as the share only grows."""
    if rollout is None:
        return False
    raw = hashlib.blake2b(f"{name}\0{rollout.candidate}\0{subject}".encode(), digest_size=8).digest()
    return int.from_bytes(raw) / 2**64 < rollout.share


def evidence(rollout: Rollout, candidate: Tally) -> float:
    """Against a candidate that fails no more often than it may; at 1 / ERROR it is taken back."""
    return sequential.failing(candidate.answers, candidate.failed, rollout.rules.most_failures)


def decided(rollout: Rollout, stable: Tally, candidate: Tally, now: datetime) -> Step | None:
    """What is to be done; None while there is nothing to do."""
    rules = rollout.rules
    if evidence(rollout, candidate) >= 1 / ERROR:
        return Step(f"rolled back: {candidate.failed} of {candidate.answers} answers failed")
    if rules.slowest and min(stable.answers - stable.failed, candidate.answers - candidate.failed) >= LATENCY_ANSWERS:
        times = candidate.mean / max(stable.mean, timedelta(microseconds=1))
        if times > rules.slowest:
            return Step(f"rolled back: {times:.1f} times slower than the stable version")
    began = rollout.step_began
    if began is None or now - began < rules.step or candidate.answers - rollout.step_from < rules.step_answers:
        return None
    higher = next((share for share in rules.ramp if share > rollout.share), None)
    if higher is not None:
        next_ = replace(rollout, share=higher, step_began=now, step_from=candidate.answers)
        return Step(f"{higher:.0%} after {candidate.answers} answers, {candidate.failed} failed", next_)
    if rules.promote:
        return Step(f"promoted after {candidate.answers} answers, {candidate.failed} failed", promoted=True)
    return None
