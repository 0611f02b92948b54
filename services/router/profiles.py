"""A model that was never trained on, placed by what is known of it: benchmark scores, or a few hundred graded answers.

`python -m services.router.training.profile` makes a profile of graded answers.

Item-response theory (Rasch; Lord 1980): each prompt has a predicted difficulty and slope, the model one ability, and an
offset for each kind of task. The ability is the posterior mode under a normal prior; offsets shrink towards 0 where
there are few answers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.router.predictor import ANCHORS, EXTRAPOLATED, Prediction, ability, log_odds

BENCHMARKS: Mapping[str, tuple[tuple[float, float], str]] = {
    "mmlu": ((0.6924, 0.8091), ""),
    "gsm8k": ((0.6273, 0.8636), "maths"),
    "overall": (ANCHORS, ""),
}
"""What the two anchors score, and the kind of task that a score tells of."""
PRIOR_SPREAD, TASK_SPREAD = 1.5, 0.4
STEPS = 30


@dataclass(frozen=True, slots=True)
class Profile:
    """An entry of section `profiles` in the router's settings, by a model's name in the mesh."""

    ability: float | None = None
    """0 at the weak anchor of the training data, 1 at the strong one."""
    by_task: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    """Shares of right answers, 0 to 1, at `mmlu`, `gsm8k` or `overall`; they count where no ability is given."""

    def placed(self, quality: float) -> tuple[float, dict[str, float]]:
        """The ability and the offsets by task; `quality` is the prior of the catalogue."""
        if self.ability is not None:
            return self.ability, dict(self.by_task)
        if not self.scores:
            return ability(quality), dict(self.by_task)
        known = {
            name: _placed(score, *BENCHMARKS[name][0]) for name, score in self.scores.items() if name in BENCHMARKS
        }
        if not known:
            return ability(quality), dict(self.by_task)
        broad = [value for name, value in known.items() if not BENCHMARKS[name][1]] or list(known.values())
        level = sum(broad) / len(broad)
        tasks = {BENCHMARKS[name][1]: value - level for name, value in known.items() if BENCHMARKS[name][1]}
        return level, {**tasks, **self.by_task}


def _placed(score: float, weak: float, strong: float) -> float:
    at = (log_odds(score) - log_odds(weak)) / (log_odds(strong) - log_odds(weak))
    return max(-EXTRAPOLATED, min(1 + EXTRAPOLATED, at))


def graded(answers: Sequence[tuple[Prediction, bool]], prior: float = 0.5) -> Profile:
    """The profile that makes `answers` likeliest."""
    level = _mode(((one, good, 0.0) for one, good in answers), prior, PRIOR_SPREAD)
    kinds = defaultdict[str, list[tuple[Prediction, bool, float]]](list)
    for one, good in answers:
        kinds[one.task].append((one, good, level))
    tasks = {task: _mode(found, 0.0, TASK_SPREAD) for task, found in sorted(kinds.items())}
    return Profile(round(level, 3), {task: round(offset, 3) for task, offset in tasks.items() if abs(offset) > 0.02})


def _mode(answers: Iterable[tuple[Prediction, bool, float]], prior: float, spread: float) -> float:
    """Newton's steps to the posterior mode of what is added to each answer's base."""
    rows, at = list(answers), prior
    for _ in range(STEPS):
        pull, weight = (prior - at) / spread**2, 1 / spread**2
        for one, good, base in rows:
            chance, slope = one.chance(base + at), one.slope()
            pull += slope * (good - chance)
            weight += slope * slope * chance * (1 - chance)
        step = pull / weight
        at = max(-EXTRAPOLATED, min(1 + EXTRAPOLATED, at + step))
        if math.isclose(step, 0.0, abs_tol=1e-6):
            break
    return at
