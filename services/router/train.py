"""Trains what the router knows: `python -m services.router.train FILE.csv`.

FILE has the columns source, prompt, weak_correct and strong_correct. Three linear models over the static vector
and the surface features are fitted: the gap between a strong and a weak model on exam questions with options, the
same on free questions, and how likely the strong model is right. The gap is fitted directly, by ridge regression on
strong - weak: it is what a choice between the two turns on, and much less noisy than the chance that the weak one
fails. A softmax over our own labelled prompts knows the task. All of it becomes one ONNX file.
"""

import argparse
import csv
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge

from services.router import quality
from services.router.features import NAMES, features, scaled
from services.router.predictor import ARTEFACTS, VECTOR_SCALE
from services.router.training.export import exported
from services.router.training.tasks import TASKS, sentences

SHAPED = ("options", "log_options", "log_question", "distinct", "question_n", "cue_")
PLAIN = [n for n, name in enumerate(NAMES) if not name.startswith(SHAPED)]
SURFACE = [n for n, name in enumerate(NAMES) if not name.startswith("cue_")]
LENGTH = NAMES.index("log_characters")
OPTIONS = NAMES.index("options")
FOLDS = 5

Array = npt.NDArray[Any]


class Rows:
    """The labelled prompts as arrays."""

    def __init__(self, file: Path) -> None:
        from services.encoder.app import tokenizer
        from services.encoder.static import StaticEncoder

        rows = list(csv.DictReader(file.open()))
        encoder = StaticEncoder(tokenizer())
        self.prompts = [row["prompt"] for row in rows]
        self.sources = np.array([row["source"] for row in rows])
        self.weak = np.array([float(row["weak_correct"]) for row in rows])
        self.strong = np.array([float(row["strong_correct"]) for row in rows])
        self.raw = np.array([features(prompt) for prompt in self.prompts], np.float32)
        self.vectors = np.stack([encoder.encode(prompt) for prompt in self.prompts])
        self.exam = self.raw[:, OPTIONS] >= 2
        self.mean, self.spread = self.raw.mean(0), self.raw.std(0) + 1e-6
        self.x = np.hstack([self.vectors * VECTOR_SCALE, scaled(self.raw, self.mean, self.spread)])


def gap_heads(rows: Rows, fit: Array) -> tuple[tuple[Array, float], tuple[Array, float]]:
    """Weights and bias of the two gap models, for exam questions and free ones; their values are gaps.

    How steeply a score becomes a gap is found on folds left out: on the rows of the fit itself it would be too steep.
    """
    exam, free = _scores(rows, fit)
    numbers, left_out = folds(rows, 7), np.zeros(len(rows.weak))
    for fold in range(FOLDS):
        rest = fit & (numbers == fold)
        inner = _scores(rows, fit & (numbers != fold))
        left_out[rest] = np.where(rows.exam, rows.x @ inner[0], rows.x @ inner[1])[rest]
    return _levelled(exam, left_out, rows, fit & rows.exam), _levelled(free, left_out, rows, fit & ~rows.exam)


def _scores(rows: Rows, fit: Array) -> tuple[Array, Array]:
    """Weights whose products order exam questions and free ones by how much the strong model is better."""
    gap, free = rows.strong - rows.weak, fit & ~rows.exam
    width = rows.vectors.shape[1]
    plain = [*range(width), *(width + n for n in PLAIN)]
    length = [*range(width), width + LENGTH]
    surface = [*range(width), *(width + n for n in SURFACE)]

    broad = _ridge(rows.x, gap, fit, plain, 100)
    exam = _standard(broad, rows.x[fit]) + _standard(_ridge(rows.x, gap, free, surface, 300), rows.x[fit])
    exam[width + LENGTH] += 1 / rows.x[fit, width + LENGTH].std()
    open_ended = _standard(_ridge(rows.x, gap, free, length, 100), rows.x[free])
    open_ended[width + LENGTH] += 0.5 / rows.x[free, width + LENGTH].std()
    return exam, open_ended


def _ridge(x: Array, y: Array, fit: Array, columns: list[int], alpha: float) -> Array:
    weights = np.zeros(x.shape[1])
    weights[columns] = Ridge(alpha=alpha).fit(x[fit][:, columns], y[fit]).coef_
    return weights


def _standard(weights: Array, x: Array) -> Array:
    scaled_to_one: Array = weights / (x @ weights).std()
    return scaled_to_one


def _levelled(weights: Array, left_out: Array, rows: Rows, fit: Array) -> tuple[Array, float]:
    """The line from a score to the gap."""
    gap = (rows.strong - rows.weak)[fit]
    slope = max(float(np.polyfit(left_out[fit], gap, 1)[0]), 1e-3)
    return weights * slope, float(gap.mean() - slope * (rows.x[fit] @ weights).mean())


def strong_heads(rows: Rows, fit: Array) -> tuple[tuple[Array, float], tuple[Array, float]]:
    """Log odds that the strong model is right, levelled for exam questions and for free ones."""
    made = LogisticRegression(C=0.003, max_iter=500).fit(rows.x[fit], rows.strong[fit])
    heads = []
    for kind in (fit & rows.exam, fit & ~rows.exam):
        line = LogisticRegression(C=1.0).fit(made.decision_function(rows.x[kind])[:, None], rows.strong[kind])
        slope = float(np.clip(line.coef_[0, 0], 0.3, 1.0))
        heads.append((made.coef_[0] * slope, float(made.intercept_[0] * slope + line.intercept_[0])))
    return heads[0], heads[1]


def folds(rows: Rows, seed: int) -> Array:
    """Exam questions by subject, so that each is judged by a model that never saw it; free ones by row."""
    pick = np.random.RandomState(seed)
    subjects = sorted(set(rows.sources[rows.exam]))
    fold = dict(zip(subjects, pick.permutation(len(subjects)) % FOLDS, strict=True))
    return np.array(
        [fold[source] if exam else pick.randint(FOLDS) for source, exam in zip(rows.sources, rows.exam, strict=True)]
    )


def held_out(rows: Rows, seed: int) -> tuple[Array, Array]:
    """Chances of the weak and of the strong model, each row by models that did not see its fold."""
    weak, strong = np.zeros(len(rows.weak)), np.zeros(len(rows.weak))
    numbers = folds(rows, seed)
    for fold in range(FOLDS):
        fit, rest = numbers != fold, numbers == fold
        (exam, exam_bias), (free, free_bias) = gap_heads(rows, fit)
        (strong_exam, exam_level), (strong_free, free_level) = strong_heads(rows, fit)
        odds = np.where(rows.exam, rows.x @ strong_exam + exam_level, rows.x @ strong_free + free_level)
        gap = np.where(rows.exam, rows.x @ exam + exam_bias, rows.x @ free + free_bias)
        strong[rest] = (1 / (1 + np.exp(-odds)))[rest]
        weak[rest] = strong[rest] - gap[rest]
    return weak, strong


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    rows = Rows(asked.parse_args().data)
    facts: dict[str, Any] = {}
    for name, chosen in (("exam subjects left out", rows.exam), ("free rows left out", ~rows.exam)):
        measured = []
        for seed in range(4):
            weak, strong = held_out(rows, seed)
            numbers = folds(rows, seed)
            ece = quality.ece(np.clip(weak[chosen], 0, 1), rows.weak[chosen])
            for fold in range(FOLDS):
                one = chosen & (numbers == fold)
                curve = quality.Curve(rows.weak[one], rows.strong[one], (strong - weak)[one])
                measured.append((curve.apgr, curve.share_at(0.95), ece))
        means = [round(float(one), 4) for one in np.mean(np.array(measured), axis=0)]
        facts[name] = dict(zip(("apgr", "strong_share_at_95", "ece"), means, strict=True))
    everything = np.ones(len(rows.weak), bool)
    tasks, facts["tasks"] = _tasks(rows)
    (ARTEFACTS / "router.onnx").write_bytes(
        exported(gap_heads(rows, everything), strong_heads(rows, everything), tasks, rows.mean, rows.spread)
    )
    card = {
        "model": "router-1",
        "data": "lm-sys/RouteLLM, Apache-2.0: a weak and a strong model on MMLU subjects and GSM8K; our own prompts for tasks",
        "train": "python -m services.router.train FILE.csv",
        "accuracy_of_weak_and_strong": [round(float(rows.weak.mean()), 4), round(float(rows.strong.mean()), 4)],
        "held_out": facts,
    }
    (ARTEFACTS / "router.json").write_text(json.dumps(card, indent=2) + "\n")
    (ARTEFACTS / "router.fitted").write_bytes(
        b"".join(sorted({sha256(text.encode()).digest()[:6] for text in rows.prompts}))
    )
    print(json.dumps(card, indent=2))


def _tasks(rows: Rows) -> tuple[tuple[Array, Array], dict[str, float]]:
    """Weights (width, tasks) and biases of the task classifier."""
    from services.encoder.app import tokenizer
    from services.encoder.static import StaticEncoder

    encoder = StaticEncoder(tokenizer())

    def made(pairs: list[tuple[str, str]]) -> tuple[Array, list[str]]:
        surface = scaled(np.array([features(text) for text, _ in pairs]), rows.mean, rows.spread)
        vectors = np.stack([encoder.encode(text) for text, _ in pairs])
        return np.hstack([vectors * VECTOR_SCALE, surface]), [task for _, task in pairs]

    x, y = made(sentences(400, 1, held_out=False))
    model = LogisticRegression(C=0.03, max_iter=1000).fit(x, y)
    assert tuple(model.classes_) == TASKS
    held_x, held_y = made(sentences(200, 2, held_out=True))
    return (model.coef_.T, model.intercept_), {
        "accuracy_on_unseen_templates": round(float(model.score(held_x, held_y)), 4)
    }


if __name__ == "__main__":
    main()
