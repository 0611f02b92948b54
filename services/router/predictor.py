"""Predicts, for each model, the chance that its answer is good enough; and what kind of task a prompt is."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from services.router.features import features

ARTEFACTS = Path(__file__).parent / "artefacts"
VECTOR_SCALE = 4.0
"""Rows of the static table are short: this brings them to the size of the surface features."""
TASKS = ("chat", "classification", "code", "extraction", "maths", "reasoning", "summarising", "translation")
ANCHORS = (0.688, 0.813)
"""Accuracy of the weak and the strong model of the training data over all its rows."""
EXTRAPOLATED = 2.5
"""How far beyond the two anchors an ability may lie."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of a prompt."""

    weak: float
    """Chance that a model as able as the weak anchor answers well."""
    strong: float
    task: str

    def chance(self, ability: float) -> float:
        """Chance that a model of `ability` answers well: on the line between the anchors' log odds.

        One ability a model and one slope a prompt: item-response theory with the items' parameters predicted.
        """
        low, high = _log_odds(self.weak), _log_odds(self.strong)
        return 1 / (1 + math.exp(-(low + ability * max(high - low, 0.02))))


def ability(quality: float) -> float:
    """Where a model with this share of good answers stands: 0 at the weak anchor, 1 at the strong one."""
    low, high = map(_log_odds, ANCHORS)
    placed = (_log_odds(quality) - low) / (high - low)
    return max(-EXTRAPOLATED, min(1 + EXTRAPOLATED, placed))


def _log_odds(chance: float) -> float:
    bounded = min(max(chance, 0.01), 0.99)
    return math.log(bounded / (1 - bounded))


class Predictor:
    """The trained artefact, on onnxruntime with one thread: a prediction is shorter than handing it to another."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(str(ARTEFACTS / "router.onnx"), options, ["CPUExecutionProvider"])

    def predict(self, text: str, vector: Vector) -> Prediction:
        """`vector` is the static one, (256,)."""
        surface = np.array([features(text)], np.float32)
        chances, tasks = self._session.run(["chances", "tasks"], {"vector": vector[None], "surface": surface})
        return Prediction(float(chances[0, 0]), float(chances[0, 1]), TASKS[int(tasks[0].argmax())])
