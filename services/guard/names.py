"""Finds names of people, places and organisations, addresses, dates and the like with a small tagger.

Each word's input is looked up and kept: quantised word pieces under the learned projection, hashed character
features, its shape. Only the convolutions that see the neighbours run for each text, in onnxruntime. How it was
trained is told in `training/names.py`.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from services.guard.finding import Found
from services.guard.words import SPLIT, Word, hashes, shape, words
from services.runtime.remembered import LONGEST_WORD, Remembered, RememberedWords

ARTEFACTS = Path(__file__).parent / "artefacts"
MOST_GRAMS = 24
WINDOW, MARGIN = 256, 10
"""Words a run, and how many on either side a word can be influenced by."""
MOST_KEPT = 50_000
"""Words of which it is remembered what they are."""
SURE = 0.5
SUSPICIOUS, SUSPICIOUS_LOW = 0.05, 0.3
"""The same for words in lower case. On real text (WNUT17, EWT) passing over texts whose words all stay below loses
two findings in a hundred, and two texts in five need no more than this look-up."""
NUMBERED = frozenset(("DATE_TIME", "AGE"))
"""Types that a short number may be all of."""
RECOGNIZER = "names"
QUOTES = "\"'`“”‘«»"
DUTCH = re.compile(r"['‘][stn][ \-]")
"""`'t Hart`, `'s-Gravenhage`."""

Vector = npt.NDArray[np.float32]


class Names:
    def __init__(self, tokenizer: Tokenizer) -> None:
        packed = np.load(ARTEFACTS / "names.npz")
        card = json.loads((ARTEFACTS / "names.json").read_text())
        self._labels: list[str] = card["labels"]
        self.version: str = card["model"]
        self._pieces = _unpacked(packed["pieces"], packed["pieces_scale"])
        self._grams = _unpacked(packed["grams"], packed["grams_scale"])
        self._shapes, self._bias = packed["shapes"].astype(np.float32), packed["bias"]
        self._tokenizer = tokenizer
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(ARTEFACTS / "names.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._known = Remembered[tuple[str, bool], Vector](MOST_KEPT)
        self._alone = defaultdict[frozenset[str], RememberedWords[bool]](lambda: RememberedWords(MOST_KEPT))
        self._met = Remembered[str, None](MOST_KEPT)
        self._outside = self._labels.index("O")
        self._common = frozenset((ARTEFACTS / "common.txt").read_text().split())

    def find(self, text: str, unwanted: frozenset[str] = frozenset()) -> list[Found]:
        """Names in `text`, by position; those of `unwanted` types may be left out."""
        if self._plain(text, unwanted):
            return []
        found = list(words(text))
        spans: list[Found] = []
        for start in range(0, len(found), WINDOW):
            first = max(0, start - MARGIN)
            part = found[first : start + WINDOW + MARGIN]
            inner = slice(start - first, min(start + WINDOW, len(found)) - first)
            spans += self._tagged(text, part, inner)
        return spans

    def _plain(self, text: str, unwanted: frozenset[str]) -> bool:
        """Whether no word could be part of what is wanted, by itself: then the network need not see them together."""
        known = self._alone[unwanted]
        for word in SPLIT.findall(text):
            likely = known.get(word)
            if likely is None:
                if not word.islower() and self._new(word):
                    return False  # a capitalised word met once is not worth a look of its own: the whole text gets one
                likely = known.keep(word, self._suspicious(word, unwanted))
            if likely:
                return False
        return True

    def _new(self, word: str) -> bool:
        """Whether a word that may be a name is met for the first time."""
        start = word[:LONGEST_WORD]
        if start in self._met or word in self._common or not word[0].isalpha():
            return False
        self._met.keep(start, None)
        return True

    def _suspicious(self, text: str, unwanted: frozenset[str]) -> bool:
        """Whether the network, seeing the word alone, thinks of a wanted type at all."""
        if text.isdigit() and len(text) <= 4:
            return not unwanted >= NUMBERED
        if text in self._common or not text[0].isalnum() or (len(text) == 1 and text.isascii()):
            return False  # an initial stands beside a name: that one is seen
        word = Word(text, 0, len(text), spaced=True)
        scores = np.asarray(self._session.run(None, {"words": self._vector(word)[None, None]})[0])[0, 0]
        likely = np.exp(scores - scores.max())
        wanted = [n for n, label in enumerate(self._labels) if label != "O" and label[2:] not in unwanted]
        least = SUSPICIOUS_LOW if text.islower() else SUSPICIOUS
        return bool(likely[wanted].sum() >= least * likely.sum())

    def _tagged(self, text: str, part: list[Word], inner: slice) -> list[Found]:
        inputs = np.concatenate([self._vector(word) for word in part]).reshape(1, len(part), -1)
        scores = np.asarray(self._session.run(None, {"words": inputs})[0])[0]
        best, made = scores.argmax(axis=-1), list[tuple[str, int, int, float]]()
        for n in np.flatnonzero(best[inner] != self._outside) + inner.start:
            likely = np.exp(scores[n] - scores[n].max())
            label = self._labels[best[n]]
            kind, sure = label[2:], float(likely[best[n]] / likely.sum())
            word = part[n]
            last = made[-1] if made else None
            joined = last is not None and last[0] == kind and text[last[2] : word.start].strip(" \n,.-'’") == ""
            if last is not None and joined and (label[0] == "I" or best[n - 1] == best[n]):
                made[-1] = (kind, last[1], word.end, max(last[3], sure))
            else:
                made.append((kind, word.start, word.end, sure))
        return [
            Found(kind, *_unquoted(text, start, end), round(sure, 3), RECOGNIZER, "the words around and within it")
            for kind, start, end, sure in made
            if sure >= SURE and any(char.isalnum() for char in text[start:end])
        ]

    def _vector(self, word: Word) -> Vector:
        key = (word.text, word.spaced)
        if (known := self._known.get(key)) is not None:
            return known
        ids = self._tokenizer.encode(word.text[:64], add_special_tokens=False).ids
        total = self._bias + self._shapes[shape(word.text, word.spaced)]
        if ids:
            total += self._pieces[ids[0]] if len(ids) == 1 else np.add.reduce(self._pieces[ids]) / len(ids)
        grams = hashes(word.text)[:MOST_GRAMS]
        total += np.add.reduce(self._grams[grams]) / (len(grams) + 1.0) ** 0.5
        made: Vector = np.maximum(total, 0)
        return self._known.keep(key, made) if len(word.text) <= LONGEST_WORD else made


def _unquoted(text: str, start: int, end: int) -> tuple[int, int]:
    """Without quotes at its ends, which the tagger takes for a part now and then: what stands in its place is quoted as it was."""
    value = text[start:end]
    first = 0 if DUTCH.match(value) else len(value) - len(value.lstrip(QUOTES))
    return start + first, start + len(value.rstrip(QUOTES))


def _unpacked(rows: npt.NDArray[np.int8], scales: npt.NDArray[np.float16]) -> Vector:
    """A quantised table in full: 27 MB for word pieces, which are read for every new word."""
    made: Vector = rows.astype(np.float32) * scales.astype(np.float32)[:, None]
    return made
