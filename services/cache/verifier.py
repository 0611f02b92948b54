"""Proves that a stored answer fits: a small network over likenesses and cheap facts, calibrated, in ONNX.

How it was trained is told in `training/verifier.py`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tollway.encoder.v1 import encoder_pb2 as pb
from tollway.encoder.v1 import encoder_pb2_grpc

from services.cache.likeness import facts, unmatched

ARTEFACTS = Path(__file__).parent / "artefacts"
MOST_WORDS = 400
Vector = npt.NDArray[np.float32]


def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(ARTEFACTS / "verifier.onnx"), options, providers=["CPUExecutionProvider"])


def card() -> dict[str, object]:
    found: dict[str, object] = json.loads((ARTEFACTS / "verifier.json").read_text())
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """A stored text and how like it is."""

    text: str
    cosine: float
    static: float


class Verifier:
    def __init__(self, encoder: encoder_pb2_grpc.EncoderServiceStub) -> None:
        self._encoder, self._session = encoder, session()

    async def probabilities(self, text: str, pairs: list[Pair]) -> Vector:
        """(n,) calibrated chances that each pair's answer fits `text`."""
        known = await self._words(sorted(set().union(*(unmatched(text, pair.text) for pair in pairs)))[:MOST_WORDS])

        def similar(a: list[str], b: list[str]) -> Vector:
            zero = np.zeros(256, np.float32)
            left = np.stack([known.get(word, zero) for word in a])
            right = np.stack([known.get(word, zero) for word in b])
            nearest: Vector = (left @ right.T).max(axis=1)
            return nearest

        rows = np.stack([facts(text, pair.text, pair.cosine, pair.static, similar) for pair in pairs])
        return np.asarray(self._session.run(None, {"facts": rows})[0]).ravel()

    async def minilm(self, texts: list[str]) -> list[Vector]:
        answer = await self._encoder.Encode(pb.EncodeRequest(texts=texts, tier=pb.TIER_MINILM))
        return [np.frombuffer(vector.values, np.float32) for vector in answer.vectors]

    async def _words(self, words: list[str]) -> dict[str, Vector]:
        if not words:
            return {}
        answer = await self._encoder.Encode(pb.EncodeRequest(texts=words, tier=pb.TIER_STATIC))
        return {
            word: np.frombuffer(vector.values, np.float32) for word, vector in zip(words, answer.vectors, strict=True)
        }
