"""Whether what is observed again and again has begun to differ. Pure.

Each observation is ranked among all before it. While nothing changes its rank is as likely to be any as any other, whatever the
observations are distributed like (conformal prediction: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World",
2nd ed. 2022, ch. 8). A bet that ranks pile up at one end gains when they do and gains nothing on average when they do not. The
bets of all possible times of a change are added up (Shiryaev-Roberts, as an e-detector: Shin, Ramdas and Rinaldo, "E-detectors", New
England Journal of Statistics in Data Science 2024): without a change the sum grows by 1 with each observation in the mean, so the
chance that it reaches `A` within `n` observations is at most `n / A`, and one false alarm comes in `A` observations at most.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

FALSE_ALARM_EVERY = 100_000
MOST_SEEN = 4000
"""Observations that are kept to rank others among: beyond, every second is dropped."""
MOST_EVIDENCE = 1e15
LEAST_TIE = 1e-9
POWERS = (0.2, 0.35, 0.5, 0.7, 0.85)
"""Of the bets: the lower, the more is put on ranks that are very low."""


def bets(rank: float) -> list[float]:
    """What each of the bets comes to: half of them are on low ranks, half on high ones. Each is 1 in the mean over ranks that
    are uniform."""
    return [power * end ** (power - 1) for end in (rank, 1 - rank) for power in POWERS]


@dataclass(slots=True)
class Detector:
    """One series of observations."""

    seen: list[float] = field(default_factory=list)
    """In order of size."""
    sums: list[float] = field(default_factory=lambda: [0.0] * 2 * len(POWERS))
    """Of each bet, over all times of a change."""
    usual: float = 0.0
    """The mean of what people are shown, of all rounds before the last."""
    last: float = 0.0
    """Of the last round."""
    count: int = 0
    """Rounds."""

    @property
    def evidence(self) -> float:
        return math.fsum(self.sums) / len(self.sums)

    def round(self, values: Sequence[float], ties: Sequence[float], shown: Sequence[float]) -> float:
        """Takes in a round of observations, whose order must not depend on what they are; `ties` are as many numbers of chance
        between 0 and 1, `shown` what people are told of each. Returns the highest evidence within the round."""
        most = 0.0
        if values and self.count:
            self.usual += (self.last - self.usual) / self.count
        for value, tie in zip(values, ties, strict=True):
            low, high = bisect.bisect_left(self.seen, value), bisect.bisect_right(self.seen, value)
            rank = (low + max(tie, LEAST_TIE) * (high - low + 1)) / (len(self.seen) + 1)
            rank = min(max(rank, LEAST_TIE), 1 - LEAST_TIE)
            self.sums = [min((sum_ + 1) * bet, MOST_EVIDENCE) for sum_, bet in zip(self.sums, bets(rank), strict=True)]
            most = max(most, self.evidence)
            bisect.insort(self.seen, value)
        if len(self.seen) > MOST_SEEN:
            self.seen = self.seen[::2]
        if values:
            self.last = math.fsum(shown) / len(shown)
            self.count += 1
        return most
