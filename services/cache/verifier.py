"""Proves that a stored answer fits: a small network over likenesses and cheap facts, calibrated, in ONNX.

How it was trained is told in `training/verifier.py`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tollway.encoder.v1 import encoder_pb2 as pb
from tollway.encoder.v1 import encoder_pb2_grpc

from services.cache.likeness import Standing, facts, rearranged, unmatched

ARTEFACTS = Path(__file__).parent / "artefacts"
MOST_WORDS = 400
MOST_KEPT = 50_000
"""Vectors of 768 bytes."""
Vector = npt.NDArray[np.float32]


def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(ARTEFACTS / "verifier.onnx"), options, providers=["CPUExecutionProvider"])


class Verifier:
    def __init__(self, encoder: encoder_pb2_grpc.EncoderServiceStub) -> None:
        self._encoder, self._session = encoder, session()
        self._kept: OrderedDict[bytes, npt.NDArray[np.float16]] = OrderedDict()

    async def judged(self, text: str, others: Sequence[tuple[str, Standing]]) -> tuple[Vector, Vector, list[bool]]:
        """Of each stored text its facts, (n, len(NAMES)), the calibrated chance that its answer fits `text`, (n,), and whether
        it says the same words in another order, which never fits."""
        known = await self._words(sorted(set().union(*(unmatched(text, other) for other, _ in others)))[:MOST_WORDS])

        def similar(a: list[str], b: list[str]) -> Vector:
            zero = np.zeros(256, np.float32)
            left = np.stack([known.get(word, zero) for word in a])
            right = np.stack([known.get(word, zero) for word in b])
            likeness: Vector = left @ right.T
            return likeness

        rows = np.stack([facts(text, other, at, similar) for other, at in others])
        chances: Vector = np.asarray(self._session.run(None, {"facts": rows})[0]).ravel()
        turned = [rearranged(text, other) for other, _ in others]
        chances[turned] = 0
        return rows, chances, turned

    def met(self, texts: Sequence[str]) -> bool:
        """Whether MiniLM need not look at any of them again."""
        return all(_digest(text) in self._kept for text in texts)

    async def minilm(self, texts: list[str]) -> list[Vector]:
        """(384,) of unit length for each; those of the [MOST_KEPT][] texts met last are remembered."""
        digests = [_digest(text) for text in texts]
        if fresh := {one: text for one, text in zip(digests, texts, strict=True) if one not in self._kept}:
            request = pb.EncodeRequest(texts=list(fresh.values()), tier=pb.TIER_MINILM)
            answer = await self._encoder.Encode(request)
            for one, made in zip(fresh, answer.vectors, strict=True):
                self._kept[one] = np.frombuffer(made.values, np.float32).astype(np.float16)
        found: list[Vector] = []
        for one in digests:
            self._kept.move_to_end(one)
            found.append(self._kept[one].astype(np.float32))
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    async def _words(self, words: list[str]) -> dict[str, Vector]:
        if not words:
            return {}
        answer = await self._encoder.Encode(pb.EncodeRequest(texts=words, tier=pb.TIER_STATIC))
        return {
            word: np.frombuffer(vector.values, np.float32) for word, vector in zip(words, answer.vectors, strict=True)
        }


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
