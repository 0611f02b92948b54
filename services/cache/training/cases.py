"""What the cache has to judge: questions asked of stores that hold the right answer, a near miss, or neither.

DATA_DIR holds `banking77_stream.jsonl` (CC BY) and `gptcache_stream.jsonl` (MIT); half of their answers are fitted, the
other half is for the thresholds. Their texts also serve our own changes (see `pairs.py`), as do other texts: JSON lines with
a `text` or CSV files with a `prompt`. No question pair of Quora's is fitted.
"""

import csv
import json
import random
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from services.cache.cache import CANDIDATES, LEAST_STATIC
from services.cache.likeness import Standing, facts, rearranged, standing
from services.cache.plain import alike, plain
from services.cache.proof import LEAST_COSINE
from services.cache.training.pairs import made
from services.guard.training.benign import sentences

MOST_TEXTS = 6000
HIDDEN = "hidden"
Case = tuple[str, str, Standing, int, str]
"""Asked, stored, how it stands among the others, whether the answer fits, the kind."""


class Likeness:
    """Facts about pairs, with the mesh's own encoders."""

    def __init__(self) -> None:
        from services.encoder.app import tokenizer
        from services.encoder.static import StaticEncoder
        from services.encoder.transformer import MINILM, Transformer

        pieces = tokenizer()
        self._static, self._minilm = StaticEncoder(pieces), Transformer(MINILM, pieces, 1)
        self._words: dict[str, Any] = {}
        self._vectors: dict[str, tuple[Any, Any]] = {}

    def learn(self, texts: list[str], what: str) -> None:
        fresh = sorted(set(texts) - self._vectors.keys(), key=len)
        for start in track(range(0, len(fresh), 64), what):
            part = fresh[start : start + 64]
            for text, vector in zip(part, self._minilm.run(part), strict=True):
                self._vectors[text] = (vector, self._static.encode(text))

    def vectors(self, text: str) -> tuple[Any, Any]:
        return self._vectors[text]

    def facts(self, a: str, b: str, at: Standing) -> Any:
        return facts(a, b, at, self._similar)

    def _similar(self, a: list[str], b: list[str]) -> Any:
        left, right = np.stack([self._word(w) for w in a]), np.stack([self._word(w) for w in b])
        return left @ right.T

    def _word(self, word: str) -> Any:
        if word not in self._words:
            self._words[word] = self._static.encode(word)
        return self._words[word]


class Shelf:
    """Stored texts with their answers, searched as the cache does."""

    def __init__(self, rows: list[tuple[str, str]], like: Likeness) -> None:
        self._texts, self._like = [text for text, _ in rows], like
        self._answers = np.array([answer for _, answer in rows])
        self._static = np.stack([like.vectors(text)[1] for text in self._texts])
        self._minilm = np.stack([like.vectors(text)[0] for text in self._texts])

    def cases(self, asked: str, answer: str, without: str, kind: str) -> list[Case]:
        """What the cache would have to judge when `asked`; entries whose answer is `without` are not there, nor is `asked`."""
        vector, static = self._like.vectors(asked)
        scores = self._static @ static
        for n in np.flatnonzero(self._answers == without):
            scores[n] = -1
        scores[[n for n, text in enumerate(self._texts) if text == asked]] = -1
        near = [int(n) for n in np.argsort(-scores)[:CANDIDATES] if scores[n] >= LEAST_STATIC]
        cosines = [float(self._minilm[n] @ vector) for n in near]
        answers = [str(self._answers[n]) for n in near]
        return [
            (asked, self._texts[n], standing(place, cosines, [float(scores[m]) for m in near], answers),
             int(answers[place] == answer), kind)
            for place, n in enumerate(near)
            if cosines[place] >= LEAST_COSINE
        ]  # fmt: skip


def fitted_rows(data: Path) -> dict[str, list[dict[str, Any]]]:
    """Of each stream the rows whose answers are fitted."""
    streams = {
        name: [json.loads(line) for line in (data / f"{name}_stream.jsonl").read_text().splitlines()]
        for name in ("banking77", "gptcache")
    }
    return {name: [row for row in rows if _fitted(name, row["answer"])] for name, rows in streams.items()}


def _fitted(name: str, answer: str) -> bool:
    return sha256(f"{name}/{answer}".encode()).digest()[0] % 2 == 0


def others(files: list[Path], chance: random.Random) -> list[str]:
    """Short harmless texts of other sets, to be changed."""
    texts: list[str] = []
    for file in files:
        if file.suffix == ".csv":
            with file.open(newline="") as raw:
                texts += [row["prompt"] for row in csv.DictReader(raw)]
        else:
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            texts += [row["text"] for row in rows if not row.get("label") and row.get("split", "train") == "train"]
    found = sorted({text for text in texts if 15 <= len(text) <= 220})
    return chance.sample(found, min(MOST_TEXTS, len(found)))


def streamed(rows: list[tuple[str, str]], like: Likeness, kind: str) -> list[Case]:
    """Every text asked of a store of all the others, and of one without its answer."""
    shelf, cases = Shelf(rows, like), list[Case]()
    for text, answer in rows:
        cases += shelf.cases(text, answer, HIDDEN, kind)
        cases += shelf.cases(text, answer, answer, f"{kind}-absent")
    return cases


def changed(texts: list[str], like: Likeness, chance: random.Random, rounds: int) -> list[Case]:
    """Our own changes of texts, asked of a store that holds all the texts."""
    pairs = made(texts, chance, rounds)
    like.learn([*texts, *(b for _, b, _, _ in pairs)], "changes")
    shelf, cases = Shelf([(text, text) for text in dict.fromkeys(texts)], like), list[Case]()
    for a, b, label, kind in track(pairs, "asked"):
        cases += [
            case for case in shelf.cases(b, a if label else HIDDEN, HIDDEN, kind) if case[1] == a or case[2].gap > 0
        ]
    return cases


@dataclass(frozen=True, slots=True)
class Cases:
    """All cases in an order of chance, their facts, and the texts that they were made from."""

    cases: list[Case]
    facts: Any
    """(n, len(NAMES))."""
    texts: list[str]

    @property
    def labels(self) -> Any:
        return np.array([label for *_, label, _ in self.cases])

    @property
    def held(self) -> Any:
        """Which are kept for calibration, by the stored text."""
        return np.array([sha256(stored.encode()).digest()[0] < 50 for _, stored, *_ in self.cases])


def gathered(data: Path, files: list[Path], like: Likeness) -> Cases:
    """Cases that the plain form does not decide."""
    chance, fit_rows = random.Random(3), fitted_rows(data)
    more, cases = others(files, chance), list[Case]()
    for name, rows in fit_rows.items():
        like.learn([row["text"] for row in rows], name)
        cases += streamed([(row["text"], row["answer"]) for row in rows], like, name)
    streams = [row["text"] for rows in fit_rows.values() for row in rows]
    cases += changed(streams + sentences(600, 21), like, chance, 6) + changed(more, like, chance, 2)
    cases = [one for one in cases if not alike(plain(one[0]), plain(one[1])) and not rearranged(one[0], one[1])]
    chance.shuffle(cases)
    found = np.stack([like.facts(a, b, at) for a, b, at, *_ in track(cases, "facts")])
    return Cases(cases, found, streams + more)
