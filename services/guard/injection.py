"""Whether a text attacks the model: a small ONNX classifier over hashed n-grams and the static vector.

How it was trained is told in `training/injection.py`.
"""

import json
import re
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import onnxruntime

ARTEFACTS = Path(__file__).parent / "artefacts"
BUCKETS = 1 << 17
WORDS = re.compile(r"\w+|[^\w\s]")
MOST_WORDS = 400
"""A longer text is judged by its parts; the worst part counts."""
DIMENSIONS = 256
OPAQUE = 12
"""Letters and digits mixed, and so many of them."""

Vector = npt.NDArray[np.float32]


def grams(text: str) -> list[int]:
    """Buckets of the text's words, pairs and triples of words, in lower case; each once."""
    made: set[int] = set()
    before = pair = 0
    for n, word in enumerate(word for word in WORDS.findall(text.lower()) if not opaque(word)):
        said = word.encode("utf-8", "replace")
        alone = crc32(said)
        made.add(alone)
        if n:  # a checksum goes on where another ended: `a b` costs no more than ` b`
            said = b" " + said
            if n > 1:
                made.add(crc32(said, pair))
            pair = crc32(said, before)
            made.add(pair)
        before = alone
    return [one % BUCKETS for one in made] or [0]


def opaque(word: str) -> bool:
    """An identifier, of which nothing was ever learned: its bucket is another word's."""
    return len(word) >= OPAQUE and not word.isalpha() and not word.isdigit()


class Injection:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(ARTEFACTS / "injection.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.card = json.loads((ARTEFACTS / "injection.json").read_text())

    def probability(self, text: str, vector: Vector | None = None) -> float:
        """Calibrated chance that `text` attacks. `vector` (256,) is its static vector, where there is one."""
        if not text.strip():
            return 0.0
        parts = parted(text)
        held = vector if vector is not None and len(parts) == 1 else None
        return max(self._one(part, held) for part in parts)

    def _one(self, text: str, vector: Vector | None) -> float:
        known = vector if vector is not None and len(vector) == DIMENSIONS else None
        feeds = {
            "grams": np.array(grams(text), np.int64),
            "vector": (known if known is not None else np.zeros(DIMENSIONS, np.float32))[None],
            "known": np.array([[0.0 if known is None else 1.0]], np.float32),
        }
        return float(np.asarray(self._session.run(None, feeds)[0]).ravel()[0])


def parted(text: str) -> list[str]:
    """`text`, or its overlapping parts of [MOST_WORDS][] words where it is longer."""
    found = list(WORDS.finditer(text))
    if len(found) <= MOST_WORDS:
        return [text]
    step = MOST_WORDS // 2
    return [
        text[found[n].start() : found[min(n + MOST_WORDS, len(found)) - 1].end()]
        for n in range(0, len(found) - step, step)
    ]
