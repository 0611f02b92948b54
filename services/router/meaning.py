"""What texts mean: MiniLM's vectors from the encoder, and the subjects that they tell of."""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import grpc
import numpy as np
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc

from services.router.conditions import Like, Seen, Vector
from services.router.subjects import Subjects
from services.runtime import telemetry

log = logging.getLogger(__name__)

WITHIN_S = 0.2
"""Of a request: whoever asks for a route waits a quarter of a second."""
EXAMPLES_WITHIN_S = 10.0
MOST_KEPT = 4096
AT_ONCE = 64
"""Examples that are asked for together."""


@dataclass(slots=True)
class Meaning:
    encoder: encoder_pb2_grpc.EncoderServiceStub
    key: str = field(default="", repr=False)
    """The router's own API key: examples are encoded when nobody is calling."""
    subjects: Subjects = field(default_factory=Subjects)
    _kept: OrderedDict[bytes, Vector] = field(default_factory=OrderedDict)
    """Of the texts asked of last: the rounds of an agent ask the same of each."""
    _away: bool = False
    """The encoder, when examples were asked for last."""

    async def tell(self, seen: Seen) -> None:
        """Says what the text means and what it is about, on behalf of who calls; nothing while the encoder is away."""
        seen.met = True
        digest = blake2b(seen.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if (vector := self._kept.get(digest)) is None:
            try:
                (vector,) = await self._encoded([seen.text], None, WITHIN_S)
            except grpc.aio.AioRpcError as error:
                telemetry.event("done without", dependency="encoder", code=error.code().name)
                return
            self._kept[digest] = vector
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(digest)
        seen.meaning, seen.subject = vector, self.subjects.of(vector)

    async def learn(self, likes: Iterable[Like]) -> None:
        """Gives every example its vector that has none; those stay without for which the encoder is away."""
        for like in likes:
            if like.vectors is None:
                texts = [*like.examples, *like.unlike]
                parts = [texts[n : n + AT_ONCE] for n in range(0, len(texts), AT_ONCE)]
                try:
                    found = [one for part in parts for one in await self._encoded(part, self.key, EXAMPLES_WITHIN_S)]
                except grpc.aio.AioRpcError as error:
                    if not self._away:
                        log.warning("examples of routes are not encoded for the moment: %s", error.code().name)
                    self._away = True
                    return
                like.vectors, self._away = np.stack(found), False

    async def _encoded(self, texts: list[str], key: str | None, within_s: float) -> list[Vector]:
        made = await self.encoder.Encode(
            encoder_pb2.EncodeRequest(texts=texts, tier=encoder_pb2.TIER_MINILM),
            metadata=(("authorization", f"Bearer {key}"),) if key is not None else None,
            timeout=within_s,
        )
        return [np.frombuffer(one.values, np.float32) for one in made.vectors]
