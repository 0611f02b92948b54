"""How good an order of prompts is, by who needs the strong model. Pure; the measures are RouteLLM's (Ong et al. 2024)."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Curve:
    """Accuracy as the share of prompts sent to the strong model grows from 0 to 1, those of highest `need` first."""

    def __init__(self, weak: Array, strong: Array, need: Array) -> None:
        order = np.argsort(-need, kind="stable")
        gained = np.concatenate([[0.0], np.cumsum((strong - weak)[order])])
        self.accuracy: Array = (weak.sum() + gained) / len(weak)
        self.weak, self.strong = float(weak.mean()), float(strong.mean())
        self.shares: Array = np.linspace(0, 1, len(weak) + 1)

    @cached_property
    def recovered(self) -> Array:
        """Performance gap recovered, for each share."""
        made: Array = (self.accuracy - self.weak) / (self.strong - self.weak)
        return made

    @cached_property
    def apgr(self) -> float:
        """Mean of the gap recovered."""
        return float(np.trapezoid(self.recovered, self.shares))

    def cpt(self, gap: float) -> float:
        """The smallest share that recovers `gap` of the gap."""
        return float(self.shares[int(np.argmax(self.recovered >= gap))])

    def share_at(self, quality: float) -> float:
        """The smallest share whose accuracy is `quality` of the strong model's."""
        return float(self.shares[int(np.argmax(self.accuracy >= quality * self.strong))])


def ece(chances: Array, outcomes: Array, bins: int = 10) -> float:
    """Expected calibration error over `bins` of equal count."""
    parts = np.array_split(np.argsort(chances), bins)
    return float(sum(len(part) * abs(chances[part].mean() - outcomes[part].mean()) for part in parts) / len(chances))
