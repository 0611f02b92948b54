"""Words and labels of texts with spans: what the teacher and the tagger learn from, and how both are scored."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.guard.words import Word, words

TYPES = ["PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "DATE_TIME", "USERNAME", "NRP", "TITLE", "AGE", "ZIP"]
LABELS = ["O"] + [f"{prefix}-{kind}" for kind in TYPES for prefix in ("B", "I")]
TEXT_TYPES = {"PERSON", "LOCATION", "ORGANIZATION"}
"""What sets of real text annotate; the other types they leave open."""
OPEN = [0] + [n for n, label in enumerate(LABELS) if n and label[2:] not in TEXT_TYPES]

Span = tuple[int, int, str]
Row = tuple[str, list[Span], bool]
"""A text, its spans, and whether every type is annotated in it."""
Predictor = Callable[[Sequence[Row]], list[np.ndarray]]
"""Log probabilities of each row's words, (words, labels)."""


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(path: Path, whole: bool) -> list[Row]:
    return [
        (row["text"], [(one["start"], one["end"], one["type"]) for one in row["spans"]], whole) for row in read(path)
    ]


def labelled(text: str, spans: Sequence[Span]) -> tuple[list[Word], list[int]]:
    found = list(words(text))
    labels = [0] * len(found)
    for start, end, kind in spans:
        if kind not in TYPES:
            continue
        first = True
        for n, word in enumerate(found):
            if word.start < end and word.end > start:
                labels[n] = LABELS.index(f"{'B' if first else 'I'}-{kind}")
                first = False
    return found, labels


def allowed(labels: Sequence[int], whole: bool) -> np.ndarray:
    """(words, labels), 1 for every label that the annotation allows: sets that leave a type open do not punish it."""
    made = np.zeros((len(labels), len(LABELS)), np.float32)
    for n, label in enumerate(labels):
        made[n, label] = 1
        if label == 0 and not whole:
            made[n, OPEN] = 1
    return made


def varied(rows: Sequence[Row], chance: random.Random) -> list[Row]:
    """Some rows in lower case or capitals: case must help, not decide."""
    out = []
    for text, spans, whole in rows:
        roll = chance.random()
        changed = text.lower() if roll < 0.08 else text.upper() if roll < 0.11 else text
        out.append((changed if len(changed) == len(text) else text, spans, whole))
    return out


def swapped(rows: Sequence[Row], chance: random.Random, share: float) -> list[Row]:
    """In a `share` of the rows most mentions give way to others of their type (Dai and Adel 2020)."""
    pool: dict[str, list[str]] = {}
    for text, spans, _ in rows:
        for start, end, kind in spans:
            pool.setdefault(kind, []).append(text[start:end])
    return [_swapped(row, pool, chance) if row[1] and chance.random() < share else row for row in rows]


def _swapped(row: Row, pool: dict[str, list[str]], chance: random.Random) -> Row:
    text, spans, whole = row
    made, at, moved = "", 0, []
    for start, end, kind in sorted(spans):
        if start < at:
            continue
        made += text[at:start]
        other = chance.choice(pool[kind]) if kind in TEXT_TYPES and chance.random() < 0.7 else text[start:end]
        moved.append((len(made), len(made) + len(other), kind))
        made, at = made + other, end
    return made + text[at:], moved, whole


def spans_in(text: str, scores: np.ndarray) -> list[Span]:
    """What the best label of each word makes of a text."""
    best, made = scores.argmax(-1), list[Span]()
    for n, word in enumerate(words(text)):
        if best[n] == 0:
            continue
        label = LABELS[best[n]]
        last = made[-1] if made else None
        joined = last is not None and last[2] == label[2:] and not text[last[1] : word.start].strip(" \n,.-'’")
        if last is not None and joined and (label[0] == "I" or best[n - 1] == best[n]):
            made[-1] = (last[0], word.end, last[2])
        else:
            made.append((word.start, word.end, label[2:]))
    return made


def overlap_f1(rows: Sequence[Row], predict: Predictor, kinds: Sequence[str]) -> float:
    """A span is found when half of it is covered by spans of its type; a prediction is right the same way."""
    found = right = gold = said = 0
    for (text, spans, _), scores in zip(rows, predict(rows), strict=True):
        predicted = spans_in(text, scores)
        for kind in kinds:
            true, made = ([one for one in side if one[2] == kind] for side in (spans, predicted))
            found += sum(_covered(one, made) for one in true)
            right += sum(_covered(one, true) for one in made)
            gold, said = gold + len(true), said + len(made)
    recall, precision = found / max(gold, 1), right / max(said, 1)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def _covered(span: Span, others: Sequence[Span]) -> bool:
    return 2 * sum(max(0, min(span[1], end) - max(span[0], start)) for start, end, _ in others) >= span[1] - span[0]
