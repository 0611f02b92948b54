"""Models that the encoder of the mesh answers."""

from collections.abc import Sequence

import grpc
import numpy as np
from numpy.typing import NDArray
from tollway.encoder.v1 import encoder_pb2

from services.orchestrator.road import Road
from services.runtime.errors import Failure, Kind

BGE_SMALL = "bge-small"
LOCAL = {"minilm": encoder_pb2.TIER_MINILM, "static": encoder_pb2.TIER_STATIC, BGE_SMALL: encoder_pb2.TIER_BGE_SMALL}
BATCH = 512
CHARACTERS_A_TOKEN = 4


class ModelUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "MODEL_UNKNOWN"
    text = "the encoder has no model {model}: it was installed without"
    field = "model"


async def offered(road: Road) -> list[str]:
    """Those that are installed; while the encoder is away, those that every encoder has."""
    try:
        made = await road.peers.encoder.ListModels(encoder_pb2.ListModelsRequest())
    except grpc.aio.AioRpcError:
        return [name for name in LOCAL if name != BGE_SMALL]
    there = {one.tier for one in made.models}
    return [name for name, tier in LOCAL.items() if tier in there]


async def vectors(road: Road, model: str, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """One of length 1 for each text.

    Raises:
        ModelUnknown: it is not installed.
    """
    await road.peers.reach("encoder", road.waits.restart_s)
    made: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), BATCH):
        await road.tokens.fresh()
        part = encoder_pb2.EncodeRequest(texts=texts[start : start + BATCH], tier=LOCAL[model])
        try:
            found = (await road.peers.encoder.Encode(part)).vectors
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise ModelUnknown(model=model) from None
            raise
        made += [np.frombuffer(one.values, np.float32) for one in found]
    return made


def tokens(texts: Sequence[str]) -> int:
    """Roughly: nobody bills them."""
    return sum(-(-len(text) // CHARACTERS_A_TOKEN) for text in texts)
