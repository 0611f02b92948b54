"""Whether a text attacks the model: a small ONNX classifier over hashed n-grams and the static vector.

Where it is not sure, MiniLM's vector is weighed against the n-grams: most texts never meet the transformer. How both were
trained is told in `training/injection.py`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import onnxruntime

from services.runtime.remembered import RememberedWords

ARTEFACTS = Path(__file__).parent / "artefacts"
BUCKETS = 1 << 17
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
OPAQUE = 12
"""Letters and digits mixed, and so many of them."""

Vector = npt.NDArray[np.float32]


def grams(text: str) -> npt.NDArray[np.int64]:
    """Buckets of the text's words, pairs and triples of words, in lower case; each once."""
    made: set[int] = set()
    before = pair = None
    for word in WORDS.findall(text.lower()):
        said, alone = _known.get(word) or _learnt(word)
        if alone < 0:
            continue
        made.add(alone)
        if before is not None:  # a checksum goes on where another ended: `a b` costs no more than ` b`
            if pair is not None:
                made.add(crc32(said, pair))
            pair = crc32(said, before)
            made.add(pair)
        before = alone
    return np.fromiter(made or (0,), np.int64) % BUCKETS


_known = RememberedWords[tuple[bytes, int]](50_000)
"""Each word as it follows another, and its checksum; -1 for an identifier, which is passed over."""


def _learnt(word: str) -> tuple[bytes, int]:
    said = word.encode("utf-8", "replace")
    return _known.keep(word, (b" " + said, -1 if opaque(word) else crc32(said)))


def opaque(word: str) -> bool:
    """An identifier, of which nothing was ever learned: its bucket is another word's."""
    return len(word) >= OPAQUE and not word.isalpha() and not word.isdigit()


@dataclass(frozen=True, slots=True)
class Part:
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
        self._first, self._second = _session("injection.onnx"), _session("second.onnx")
        self.card = json.loads((ARTEFACTS / "injection.json").read_text())

    def judged(self, text: str, vector: Vector | None = None) -> Iterator[Part]:
        """The parts of `text`, one after the other. `vector` (256,) is its static vector, where there is one."""
        if not text.strip():
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
        known = vector if vector is not None and len(vector) == DIMENSIONS else None
        feeds = {
            "grams": grams(text),
            "vector": (known if known is not None else np.zeros(DIMENSIONS, np.float32))[None],
            "known": np.array([[0.0 if known is None else 1.0]], np.float32),
        }
        probability, score = self._first.run(["probability", "g"], feeds)
        return Part(text, np.asarray(probability).item(), np.asarray(score).item())


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
