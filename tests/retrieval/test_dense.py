"""The model of a generation's dense vectors is chosen once, and never another's stand beside them."""

from collections.abc import AsyncIterator

import grpc
import pytest
from tollway.encoder.v1 import encoder_pb2 as pb

from services.retrieval.app import MIGRATIONS
from services.retrieval.dense import MemoryModels, Models, OtherModel, PostgresModels, chosen
from services.retrieval.encoding import BGE_SMALL, MINILM, Encoding
from services.runtime import postgres
from tests.support.encoders import Encoder


class Lacking(Encoder):
    """Answers as an encoder does that has no BGE-small, or one of a release before."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self.code = code

    async def Encode(self, request: pb.EncodeRequest, **more: object) -> pb.EncodeResponse:
        if request.tier == pb.TIER_BGE_SMALL:
            raise grpc.aio.AioRpcError(self.code, grpc.aio.Metadata(), grpc.aio.Metadata())
        return await super().Encode(request, **more)


@pytest.fixture(params=("memory", "postgres"))
async def models(request: pytest.FixtureRequest) -> AsyncIterator[Models]:
    if request.param == "memory":
        yield MemoryModels()
        return
    async with postgres.opened(request.getfixturevalue("postgres_url"), "retrieval", MIGRATIONS, 2) as pool:
        await pool.execute("DELETE FROM dense")
        yield PostgresModels(pool)


def encoding(encoder: object, key: str = "tw_key") -> Encoding:
    return Encoding(encoder, key)  # type: ignore[arg-type]


async def test_what_was_chosen_first_stands_until_it_is_dropped(models: Models) -> None:
    assert await models.get("first") == ""
    assert await models.keep("first", MINILM) == MINILM
    assert await models.keep("first", BGE_SMALL) == MINILM and await models.get("first") == MINILM
    assert await models.keep("next", BGE_SMALL) == BGE_SMALL
    await models.drop("first")
    assert await models.get("first") == "" and await models.get("next") == BGE_SMALL


async def test_a_new_generation_gets_the_best_that_the_encoder_has(models: Models) -> None:
    assert await chosen("a", "", models, encoding(Encoder()), older=False) == BGE_SMALL
    for code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT):
        assert await chosen(code.name, "", models, encoding(Lacking(code)), older=False) == MINILM
    assert (
        await chosen("a", "", models, encoding(Lacking(grpc.StatusCode.FAILED_PRECONDITION)), older=False) == BGE_SMALL
    )


async def test_an_encoder_that_is_away_chooses_nothing(models: Models) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await chosen("first", "", models, encoding(Lacking(grpc.StatusCode.UNAVAILABLE)), older=False)
    assert await models.get("first") == ""


async def test_documents_of_before_keep_minilm(models: Models) -> None:
    assert await chosen("first", "", models, encoding(Encoder()), older=True) == MINILM
    assert await chosen("first", "", models, encoding(Encoder()), older=False) == MINILM


async def test_what_is_wanted_is_kept_and_another_refused(models: Models) -> None:
    assert (
        await chosen("first", "text-embedding-3-large", models, encoding(Encoder()), older=True)
        == "text-embedding-3-large"
    )
    with pytest.raises(OtherModel, match=r"first has vectors of text-embedding-3-large, and the settings say minilm"):
        await chosen("first", MINILM, models, encoding(Encoder()), older=False)


async def test_without_a_key_nothing_is_chosen_for_good(models: Models) -> None:
    assert await chosen("first", "", models, encoding(Encoder(), ""), older=False) == MINILM
    assert await models.get("first") == ""
