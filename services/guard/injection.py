"""Whether a text attacks the model: two regressions, over hashed n-grams and over the static vector, weighed by a third.

They are sums, which take less than a runtime's call. Where they are not sure, a small ONNX network weighs MiniLM's vector
against the n-grams: most texts never meet the transformer. How all were trained is told in `training/injection.py`.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import onnxruntime
from msgspec import Struct

ARTEFACTS = Path(__file__).parent / "artefacts"
BUCKETS = 1 << 17
"""A power of two."""
AROUND = " \t\r\n.,:;!?"
"""Of a word."""
WORDS = re.compile(r"\w+|[^\w\s]")
MOST_WORDS = 400
"""A longer text is judged by its parts; the worst part counts."""
DIMENSIONS = 256
UNSURE = (0.1, 0.99)
"""Between these a second opinion is worth its cost."""
SEEN = 180
"""Words of a text that MiniLM sees at once, about."""
MOST_SECOND = 2
"""Parts of a text that get one, the likeliest attacks first."""
MOST_LOG_ODDS = 700.0
"""Past that a chance is no number any more."""
LONGEST_WORD = 24
"""Letters of a word that says nothing to anybody when it stands alone: `Rules` is a question to a help desk."""
OPAQUE = 12
"""Letters and digits mixed, and so many of them: an identifier, of which nothing was ever learned. Its bucket is another word's."""

Vector = npt.NDArray[np.float32]


def grams(text: str) -> npt.NDArray[np.int64]:
    """Buckets of the text's words, pairs and triples of words, in lower case; each once."""
    made: set[int] = set()
    before = pair = None
    words = WORDS.findall(text.lower())
    for word, raw in zip(words, " ".join(words).encode("utf-8", "replace").split(), strict=True):
        if len(word) >= OPAQUE and not (word.isalpha() or word.isdigit()):
            continue
        made.add(alone := crc32(raw))
        if before is not None:  # a checksum goes on where another ended: `a b` costs no more than ` b`
            said = b" " + raw
            if pair is not None:
                made.add(crc32(said, pair))
            made.add(pair := crc32(said, before))
        before = alone
    return np.fromiter(made or (0,), np.int64) & (BUCKETS - 1)


class Part(Struct, frozen=True):
    """A part of a text, judged by the first classifier."""

    text: str
    probability: float
    score: float
    """Of its n-grams alone, before it is weighed."""

    @property
    def unsure(self) -> bool:
        return UNSURE[0] < self.probability < UNSURE[1]


class Injection:
    def __init__(self) -> None:
        with np.load(ARTEFACTS / "injection.npz") as kept:
            self._grams, self._vector = kept["grams"], kept["vector"]
            self._grams_0, self._vector_0 = kept["offsets"].tolist()
            self._both, self._alone = kept["both"].tolist(), kept["alone"].tolist()
        self._second = _session("second.onnx")
        self.card = json.loads((ARTEFACTS / "injection.json").read_text())

    def judged(self, text: str, vector: Vector | None = None) -> Iterator[Part]:
        """The parts of `text`, one after the other. `vector` (256,) is its static vector, where there is one."""
        if not (said := text.strip(AROUND)) or (len(said) <= LONGEST_WORD and said.isascii() and said.isalpha()):
            return
        parts = parted(text)
        held = vector if vector is not None and len(parts) == 1 else None
        for part in parts:
            yield self._one(part, held)

    def weighed(self, part: Part, minilm: Vector) -> float:
        """Calibrated chance that a part attacks, its (384,) vector of MiniLM's considered."""
        feeds = {"score": np.array([[part.score]], np.float32), "minilm": minilm[None]}
        return float(np.asarray(self._second.run(None, feeds)[0]).ravel()[0])

    def _one(self, text: str, vector: Vector | None) -> Part:
        found = grams(text)
        score = float(np.add.reduce(self._grams.take(found))) / math.sqrt(len(found)) + self._grams_0
        if vector is None or len(vector) != DIMENSIONS:
            by_grams, offset = self._alone
            return Part(text, _chance(by_grams * score + offset), score)
        by_grams, by_vector, offset = self._both
        told = float(self._vector @ vector) + self._vector_0
        return Part(text, _chance(by_grams * score + by_vector * told + offset), score)


def _chance(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -MOST_LOG_ODDS else 0.0


def _session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(ARTEFACTS / name), options, providers=["CPUExecutionProvider"])


def parted(text: str, most: int = MOST_WORDS) -> list[str]:
    """`text`, or its overlapping parts of `most` words where it is longer."""
    if len(text) <= most:
        return [text]
    found = list(WORDS.finditer(text))
    if len(found) <= most:
        return [text]
    step = most // 2
    return [
        text[found[n].start() : found[min(n + most, len(found)) - 1].end()] for n in range(0, len(found) - step, step)
    ]
