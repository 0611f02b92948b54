"""Predicts, for each model, the chance that its answer is good enough; and what kind of task a prompt is."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from services.router.features import NAMES, features

ARTEFACTS = Path(__file__).parent / "artefacts"
VECTOR_SCALE = 4.0
"""Rows of the static table are short: this brings them to the size of the surface features."""
TASKS = ("chat", "classification", "code", "extraction", "maths", "reasoning", "summarising", "translation")
ANCHORS = (0.688, 0.813)
"""Accuracy of the weak and the strong model of the training data over all its rows."""
OPTIONS = NAMES.index("options")
"""The feature that tells an exam question with answers to choose from: two or more."""
LEAST = 0.01
"""No chance is thought nearer to 0 or 1."""
EXTRAPOLATED = 2.5
"""How far beyond the two anchors an ability may lie."""

Vector = npt.NDArray[np.float32]


@dataclass(slots=True)
class Prediction:
    """What is expected of a prompt."""

    weak: float
    """Chance that a model as able as the weak anchor answers well."""
    strong: float
    task: str
    _low: float = field(init=False)
    _span: float = field(init=False)

    def __post_init__(self) -> None:
        self._low = log_odds(self.weak)
        self._span = max(log_odds(self.strong) - self._low, 0.02)

    def chance(self, ability: float) -> float:
        """Chance that a model of `ability` answers well: on the line between the anchors' log odds.

        One ability a model and one slope a prompt: item-response theory with the items' parameters predicted.
        """
        return 1 / (1 + math.exp(-(self._low + ability * self._span)))

    def slope(self) -> float:
        """How much an ability counts here, in log odds."""
        return self._span


def ability(quality: float) -> float:
    """Where a model with this share of good answers stands: 0 at the weak anchor, 1 at the strong one."""
    low, high = map(log_odds, ANCHORS)
    placed = (log_odds(quality) - low) / (high - low)
    return max(-EXTRAPOLATED, min(1 + EXTRAPOLATED, placed))


def log_odds(chance: float) -> float:
    bounded = min(max(chance, 0.01), 0.99)
    return math.log(bounded / (1 - bounded))


UNKNOWN = Prediction(*ANCHORS, "")
"""What is expected of a prompt that nobody has read."""


class Predictor:
    """The trained artefact, on onnxruntime with one thread: a prediction is shorter than handing it to another.

    Inputs and outputs stay bound to the same memory, which spares a third of a run. Not for several threads at once.
    """

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(str(ARTEFACTS / "router.onnx"), options, ["CPUExecutionProvider"])
        shapes = {one.name: one.shape[1] for one in (*session.get_inputs(), *session.get_outputs())}
        self._vector, self._surface, self._lines = (
            np.zeros((1, shapes[name]), np.float32) for name in ("vector", "surface", "lines")
        )
        self._bound = session.io_binding()
        for name, values in (("vector", self._vector), ("surface", self._surface)):
            self._bound.bind_input(name, "cpu", 0, np.float32, values.shape, values.ctypes.data)
        self._bound.bind_output("lines", "cpu", 0, np.float32, self._lines.shape, self._lines.ctypes.data)
        self._run = session.run_with_iobinding

    def predict(self, text: str, vector: Vector) -> Prediction:
        """`vector` is the static one, (256,)."""
        surface = features(text)
        self._vector[0], self._surface[0] = vector, surface
        self._run(self._bound)
        exam_gap, free_gap, exam_odds, free_odds, *tasks = self._lines[0].tolist()
        exam = surface[OPTIONS] >= 2
        strong = 1 / (1 + math.exp(-(exam_odds if exam else free_odds)))
        weak = strong - (exam_gap if exam else free_gap)
        return Prediction(_bounded(weak), _bounded(strong), TASKS[tasks.index(max(tasks))])


def _bounded(chance: float) -> float:
    return min(max(chance, LEAST), 1 - LEAST)
