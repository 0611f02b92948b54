"""The static encoder: the weighted mean of a token table. Microseconds a text."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from services.runtime.remembered import RememberedWords

ARTEFACTS = Path(__file__).parent / "artefacts"
MODEL = "static-minilm-256-1"
DIMENSIONS = 256
WORDS = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
MOST_WORDS = 50_000
"""That are known with their pieces."""
MOST_CHARACTERS = 16_384
"""A longer text is encoded by its beginning and end."""

Vector = npt.NDArray[np.float32]


class StaticEncoder:
    """Encodes text as the normalised mean of its tokens' rows.

    A bounded book of words spares the tokenizer: ASCII text is split as BERT splits it, and only words never
    seen go through WordPiece. Other text goes to the tokenizer whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        packed = np.load(ARTEFACTS / "static.npz")
        self._table: Vector = packed["rows"].astype(np.float32) * packed["scales"][:, None]
        self._tokenizer = tokenizer
        self._words = RememberedWords[list[int]](MOST_WORDS)

    def encode(self, text: str) -> Vector:
        """(256,) of unit length; zeros for a text without tokens."""
        if len(text) > MOST_CHARACTERS:
            half = MOST_CHARACTERS // 2
            text = f"{text[:half]} {text[-half:]}"
        ids = self._ids(text)
        if not ids:
            return np.zeros(DIMENSIONS, np.float32)
        total: Vector = np.add.reduce(self._table.take(ids, 0))
        length = float(np.sqrt(total @ total))
        return total / length if length > 0 else total

    def _ids(self, text: str) -> list[int]:
        if not text.isascii():
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        ids: list[int] = []
        known = self._words
        for word in WORDS.findall(text.lower()):
            pieces = known.get(word)
            if pieces is None:
                pieces = self._learn(word)
            ids += pieces
        return ids

    def _learn(self, word: str) -> list[int]:
        return self._words.keep(word, list(self._tokenizer.encode(word, add_special_tokens=False).ids))
