"""What a text is about: a softmax over MiniLM's vector. `python -m services.router.training.subjects` trains it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

ARTEFACT = Path(__file__).parent / "artefacts" / "subjects.npz"
SUBJECTS = ("biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history",
            "law", "math", "other", "philosophy", "physics", "psychology")  # fmt: skip
"""The categories of MMLU-Pro (Wang et al. 2024)."""
OTHER = "other"
SURE = 0.3
"""Chance below which a text is about something else."""

Vector = npt.NDArray[np.float32]


class Subjects:
    """The trained artefact."""

    def __init__(self) -> None:
        with np.load(ARTEFACT) as found:
            self._weights, self._biases = found["weights"], found["biases"]

    def of(self, meaning: Vector) -> tuple[str, float]:
        """The likeliest subject and its chance; `meaning` is MiniLM's vector, (384,) of unit length."""
        odds = meaning @ self._weights + self._biases
        chances = np.exp(odds - odds.max())
        at = int(chances.argmax())
        chance = float(chances[at] / chances.sum())
        return (SUBJECTS[at] if chance >= SURE else OTHER), chance
