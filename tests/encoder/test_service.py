"""The encoder's contract over every transport."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from tollway.encoder.v1 import encoder_pb2 as pb
from tollway.encoder.v1 import encoder_pb2_grpc

from services.encoder.app import tokenizer
from services.encoder.service import EncoderService
from services.encoder.transformer import BGE_SMALL, MINILM, Transformer
from services.runtime.server import Service
from tests.support.callers import identity
from tests.support.encoders import static
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called


@pytest.fixture(params=TRANSPORTS)
async def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Called]:
    minilm, absent = (
        Transformer(MINILM, tokenizer(), 1),
        Transformer(replace(BGE_SMALL, file=tmp_path / "none.onnx"), tokenizer(), 1),
    )
    service = EncoderService(static(), {pb.TIER_MINILM: minilm, pb.TIER_BGE_SMALL: absent})
    register = partial(encoder_pb2_grpc.add_EncoderServiceServicer_to_server, service)
    served = Service("tollway.encoder.v1.EncoderService", "encoder.tollway", register, identity())
    async with channel_to(served, request.param) as channel:
        yield Called(encoder_pb2_grpc.EncoderServiceStub(channel))
    minilm.close()
    absent.close()


async def test_each_tier_names_its_model(encoder: Called) -> None:
    for tier, model, size in (
        (pb.TIER_STATIC, "static-minilm-256-1", 256),
        (pb.TIER_MINILM, "all-minilm-l6-v2-int8", 384),
    ):
        made = await encoder.Encode(pb.EncodeRequest(texts=["one", "two"], tier=tier))
        assert [vector.model for vector in made.vectors] == [model] * 2
        assert [len(np.frombuffer(vector.values, np.float32)) for vector in made.vectors] == [size] * 2


async def test_the_static_tier_is_the_usual_one(encoder: Called) -> None:
    made = await encoder.Encode(pb.EncodeRequest(texts=["one"]))
    assert np.allclose(np.frombuffer(made.vectors[0].values, np.float32), static().encode("one"))


async def test_bad_requests_and_strangers(encoder: Called) -> None:
    assert await field_of(encoder.Encode(pb.EncodeRequest())) == "texts"
    assert (await refused(encoder.stub.Encode(pb.EncodeRequest(texts=["x"]))))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_what_is_installed_is_listed(encoder: Called) -> None:
    listed = (await encoder.ListModels(pb.ListModelsRequest())).models
    assert [(one.tier, one.name, one.dimensions) for one in listed] == [
        (pb.TIER_STATIC, "static-minilm-256-1", 256),
        (pb.TIER_MINILM, "all-minilm-l6-v2-int8", 384),
    ]
    for one in listed:
        made = (await encoder.Encode(pb.EncodeRequest(texts=["x"], tier=one.tier))).vectors[0]
        assert (made.model, len(made.values)) == (one.name, 4 * one.dimensions), "it is as it was told"


async def test_a_model_that_is_not_installed_is_named(encoder: Called) -> None:
    code, reason, *_ = await refused(encoder.Encode(pb.EncodeRequest(texts=["x"], tier=pb.TIER_BGE_SMALL)))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_MISSING")
