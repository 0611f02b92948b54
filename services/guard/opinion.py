"""How likely a text is to attack the model, with a second opinion of MiniLM's where the first is not sure and it matters."""

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import grpc
import numpy as np
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc

from services.guard.injection import MOST_SECOND, SEEN, Injection, Part, Vector, parted
from services.runtime import telemetry

WITHIN_S = 0.5
MOST_MOVED = 3.5
"""In log-odds: a probability further below a limit is not brought over it by a second opinion. `python -m
benchmarks.injection_quality` counts the decisions that this changes: none of those it was seen to judge."""
LESS_EACH = 0.5
"""Log-odds less for e times as many parts; 1 were right if what looks like an attack came by chance alone."""
MOST_KEPT = 8192
AT_ONCE = 4
"""Parts of a text that are judged before others get their turn: a part takes half a millisecond."""


class Transformer(Protocol):
    async def __call__(self, texts: list[str]) -> list[Vector] | None:
        """(384,) for each; None where nobody can say."""
        ...


@dataclass(frozen=True, slots=True)
class MiniLM:
    """The encoder's, on behalf of who calls."""

    encoder: encoder_pb2_grpc.EncoderServiceStub

    async def __call__(self, texts: list[str]) -> list[Vector] | None:
        request = encoder_pb2.EncodeRequest(texts=texts, tier=encoder_pb2.TIER_MINILM)
        try:
            made = await self.encoder.Encode(request, timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            telemetry.event("done without", dependency="encoder", code=error.code().name)
            return None
        return [np.frombuffer(one.values, np.float32) for one in made.vectors]


@dataclass(frozen=True, slots=True)
class Opinion:
    injection: Injection
    transformer: Transformer
    _kept: OrderedDict[tuple[bytes, bool, float], float] = field(default_factory=OrderedDict)
    """Of the texts judged last: a conversation shows all its messages again at each turn."""

    async def probability(self, text: str, vector: Vector | None = None, limit: float = 0.0) -> float:
        """Calibrated chance that `text` attacks; the worst of its parts counts.

        `vector` (256,) is its static vector, where there is one. With a `limit` all that matters is whether the chance
        reaches it: what is too far below gets no second opinion. Without the encoder the first classifier's word stands.
        """
        seen = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
        if vector is not None:  # who calls says it: what another was told of other numbers is not for them
            seen.update(vector.tobytes())
        key = (seen.digest(), vector is not None, limit)
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        probability, whole = await self._judged(text, vector, limit)
        if whole:
            self._kept[key] = probability
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return probability

    async def _judged(self, text: str, vector: Vector | None, limit: float) -> tuple[float, bool]:
        """The chance, and whether everybody was heard who should be."""
        parts = list[Part]()
        for part in self.injection.judged(text, vector):
            parts.append(part)
            if len(parts) % AT_ONCE == 0:
                await asyncio.sleep(0)
        parts.sort(key=lambda one: -one.probability)
        if not parts:
            return 0.0, True
        needed = at_least(limit, len(parts))
        unsure = [one for one in parts if one.unsure and reaches(one.probability, needed)][:MOST_SECOND]
        if not unsure:
            return among(parts[0].probability, len(parts)), True
        asked = [(one, seen) for one in unsure for seen in parted(one.text, SEEN)]
        vectors = await self.transformer([seen for _, seen in asked])
        if vectors is None:
            return among(parts[0].probability, len(parts)), False
        again = [self.injection.weighed(one, vector) for (one, _), vector in zip(asked, vectors, strict=True)]
        return among(max(again + [one.probability for one in parts if one not in unsure]), len(parts)), True


def among(worst: float, parts: int) -> float:
    """Chance that a text of so many overlapping `parts` attacks, of which the worst has `worst`.

    An attack lies in one of them, and each of the others is one more that may look like it: a long file is not suspect for its length.
    """
    return _moved(worst, -_doubt(parts))


def at_least(limit: float, parts: int) -> float:
    """What the worst of so many parts must have for the text to reach `limit`."""
    return _moved(limit, _doubt(parts))


def _doubt(parts: int) -> float:
    """Log-odds that the worst of so many parts loses; none where it is the only one."""
    return LESS_EACH * math.log((parts + 1) / 2)


def _moved(probability: float, by: float) -> float:
    if not (by and 0 < probability < 1):
        return probability
    return 1 / (1 + math.exp(-_log_odds(probability) - by))


def reaches(probability: float, limit: float) -> bool:
    """Whether a second opinion could bring a chance strictly between 0 and 1 up to `limit`."""
    return not 0 < limit < 1 or _log_odds(limit) - _log_odds(probability) <= MOST_MOVED


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
