"""Trains what tells subjects: `python -m services.router.training.subjects FILE.csv`.

FILE has the columns source and prompt: MMLU's questions, whose source names the subject, and grade-school maths. Our own
questions count more, since exams are worded as nobody talks. A softmax over MiniLM's vectors is fitted to both.
"""

import argparse
import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from services.encoder.app import tokenizer
from services.encoder.transformer import MINILM, Transformer
from services.router.subjects import ARTEFACT, SUBJECTS
from services.router.training.questions import questions

PARTS = {
    "biology": "college_biology high_school_biology",
    "business": "business_ethics management marketing professional_accounting",
    "chemistry": "college_chemistry high_school_chemistry",
    "computer science": "college_computer_science computer_security high_school_computer_science machine_learning",
    "economics": "econometrics high_school_macroeconomics high_school_microeconomics",
    "engineering": "electrical_engineering",
    "health": "anatomy clinical_knowledge college_medicine medical_genetics nutrition professional_medicine virology human_aging",
    "history": "high_school_european_history high_school_us_history high_school_world_history prehistory",
    "law": "international_law jurisprudence professional_law",
    "math": "abstract_algebra college_mathematics elementary_mathematics gsm8k high_school_mathematics high_school_statistics",
    "philosophy": "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy world_religions",
    "physics": "astronomy college_physics conceptual_physics high_school_physics",
    "psychology": "high_school_psychology professional_psychology",
}
"""MMLU's subjects in MMLU-Pro's categories; all others are `other`."""
OF = {part: subject for subject, parts in PARTS.items() for part in parts.split()}
STRENGTH = 0.03
OWN = 30.0
"""How much one of our own questions counts against a row."""
SCALE = 4.0
FOLDS = 5
OPTIONS = "\nA. "
AT_ONCE = 32
TWO = 2

Array = npt.NDArray[Any]


class Texts:
    """Vectors and what they are about."""

    def __init__(self, pairs: list[tuple[str, str]], encoder: Transformer) -> None:
        texts = [text for text, _ in pairs]
        parts = [encoder.run(texts[n : n + AT_ONCE]) for n in range(0, len(texts), AT_ONCE)]
        self.x: Array = np.vstack(parts)
        self.y: Array = np.array([subject for _, subject in pairs])


def fitted(rows: Texts, own: Texts, chosen: Array) -> LogisticRegression:
    """To the chosen rows and our own questions; of a subject with many rows each counts less."""
    y = np.concatenate([rows.y[chosen], own.y])
    counts = Counter(y.tolist())
    weights = np.array([counts[subject] ** -0.5 for subject in y])
    weights[-len(own.y) :] *= OWN
    made = LogisticRegression(C=STRENGTH, max_iter=1000)
    return made.fit(np.vstack([rows.x[chosen], own.x]) * SCALE, y, sample_weight=weights / weights.mean())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    found = list(csv.DictReader(asked.parse_args().data.open()))
    sources = np.array([row["source"].rpartition("/")[2] for row in found])
    encoder = Transformer(MINILM, tokenizer())
    # Every other question goes without its options: people ask without any.
    texts = [row["prompt"].partition(OPTIONS)[0] if n % TWO else row["prompt"] for n, row in enumerate(found)]
    rows = Texts([(text, OF.get(part, "other")) for text, part in zip(texts, sources, strict=True)], encoder)
    own, asked_so = (Texts(list(questions(held_out=held)), encoder) for held in (False, True))
    fold = np.random.RandomState(0).randint(FOLDS, size=len(rows.y))
    made = fitted(rows, own, fold >= 0)
    alone = [
        part
        for part in sorted(set(sources))
        if part in OF and sum(OF.get(one) == OF[part] for one in set(sources)) >= TWO
    ]
    left_out = [
        fitted(rows, own, sources != part).score(rows.x[sources == part] * SCALE, rows.y[sources == part])
        for part in alone
    ]
    facts = {
        "our_own_questions_left_out": made.score(asked_so.x * SCALE, asked_so.y),
        "rows_left_out": fitted(rows, own, fold != 0).score(rows.x[fold == 0] * SCALE, rows.y[fold == 0]),
        "exam_subjects_left_out": float(np.mean(left_out)),
    }
    assert tuple(made.classes_) == SUBJECTS
    np.savez(ARTEFACT, weights=(made.coef_.T * SCALE).astype(np.float32), biases=made.intercept_.astype(np.float32))
    card = {
        "model": "subjects-1",
        "data": "MMLU's questions as lm-sys/RouteLLM has them, Apache-2.0, in the categories of MMLU-Pro; our own questions",
        "rows": {"exams": len(rows.y), "our_own": len(own.y), "hashes": "router.fitted"},
        "train": "python -m services.router.training.subjects FILE.csv",
        "accuracy": {name: round(float(value), 4) for name, value in facts.items()},
    }
    ARTEFACT.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
