"""Tests that may be looked at as often as one likes: evidence by betting. Pure.

Whoever believes in a null hypothesis offers fair odds on the next observation; evidence against it is what a gambler who
starts with 1 and cannot lose more has made of that. If the null is true, the chance that the evidence ever reaches 1 / a is at
most a (Ville's inequality), whenever and however often one looks. Bets of several sizes are held at once and their winnings
averaged, so nobody needs to know the effect beforehand (Waudby-Smith and Ramdas, "Estimating means of bounded random variables
by betting", JRSS B 2024; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference",
Statistical Science 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

SIZES = tuple(0.9 * 2 ** (-n / 2) for n in range(20))
"""Bets, as shares of the largest that cannot ruin: from 0.9 down to 0.0012, each the root of a half of the one before."""
NOTHING = (0.0,) * len(SIZES)


def evidence(logs: Sequence[float]) -> float:
    """What the bets have come to in the mean; `logs` are their natural logarithms."""
    most = max(logs)
    if most > 700.0:
        return math.inf
    return math.exp(most) * sum(math.exp(one - most) for one in logs) / len(logs)


def failing(answers: int, failed: int, most: float) -> float:
    """Evidence that more than the share `most`, above 0 and below 1, of answers fail."""
    logs = []
    for size in SIZES:
        bet = size / most
        logs.append(failed * math.log1p(bet * (1 - most)) + (answers - failed) * math.log1p(-bet * most))
    return evidence(logs)


@dataclass(frozen=True, slots=True)
class Compared:
    """Differences between two sides, each from -1 to 1, as far as they are known. The order of them does not count."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    up: tuple[float, ...] = field(default=NOTHING, repr=False)
    """Logarithms of the bets that the mean is above 0."""
    down: tuple[float, ...] = field(default=NOTHING, repr=False)
    """That it is below."""

    def with_(self, difference: float) -> "Compared":
        """With one more.

        Raises:
            ValueError: it is not between -1 and 1.
        """
        if not -1.0 <= difference <= 1.0:
            raise ValueError(f"a difference of {difference}")
        return Compared(
            self.count + 1,
            self.total + difference,
            self.squares + difference * difference,
            tuple(log + math.log1p(size * difference) for log, size in zip(self.up, SIZES, strict=True)),
            tuple(log + math.log1p(-size * difference) for log, size in zip(self.down, SIZES, strict=True)),
        )

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        return max(self.squares / self.count - self.mean**2, 0.0) if self.count else 0.0

    @property
    def above(self) -> float:
        """Evidence that the mean is above 0."""
        return evidence(self.up)

    @property
    def below(self) -> float:
        """Evidence that it is below."""
        return evidence(self.down)

    def verdict(self, error: float) -> str:
        """`better`, `worse` or `undecided`; wrong with a chance of at most `error` on each side, however often one looks."""
        if self.above >= 1 / error and self.above >= self.below:
            return "better"
        return "worse" if self.below >= 1 / error else "undecided"

    def more(self, error: float) -> int:
        """How many more differences like those so far would decide it; 0 when it is decided, -1 when none would.

        The evidence grows by about mean^2 / (2 variance) each in its logarithm (Kelly's rate), less a word for not knowing
        the best bet beforehand.
        """
        if self.verdict(error) != "undecided":
            return 0
        if self.count < 2 or self.mean == 0.0:
            return -1
        have = math.log(max(self.above, self.below, 1e-300))
        rate = self.mean**2 / (2 * max(self.variance, 1e-9))
        return max(math.ceil((math.log(1 / error) + math.log(len(SIZES)) / 2 - have) / rate), 1)
