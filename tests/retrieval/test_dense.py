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


class Having(Encoder):
    """Tells of so many tiers; of none where it fails."""

    def __init__(self, *tiers: int, fails: grpc.StatusCode | None = None) -> None:
        super().__init__()
        self.tiers, self.fails = tiers, fails

    async def ListModels(self, request: pb.ListModelsRequest, **_: object) -> pb.ListModelsResponse:
        if self.fails is not None:
            raise grpc.aio.AioRpcError(self.fails, grpc.aio.Metadata(), grpc.aio.Metadata())
        return pb.ListModelsResponse(models=[pb.Model(tier=pb.Tier.ValueType(tier), name="m") for tier in self.tiers])


BEST, PLAIN = Having(pb.TIER_STATIC, pb.TIER_MINILM, pb.TIER_BGE_SMALL), Having(pb.TIER_STATIC, pb.TIER_MINILM)


@pytest.fixture(params=("memory", "postgres"))
async def models(request: pytest.FixtureRequest) -> AsyncIterator[Models]:
    if request.param == "memory":
        yield MemoryModels()
        return
    async with postgres.opened(
        request.getfixturevalue("postgres_url"), "retrieval", MIGRATIONS, 2, sessions=True
    ) as pool:
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
    assert await chosen("a", "", models, encoding(BEST), older=False) == BGE_SMALL
    assert await chosen("b", "", models, encoding(PLAIN), older=False) == MINILM
    before = Having(fails=grpc.StatusCode.UNIMPLEMENTED)
    assert await chosen("c", "", models, encoding(before), older=False) == MINILM, "one of a release before"
    assert await chosen("a", "", models, encoding(PLAIN), older=False) == BGE_SMALL, "it was chosen"


async def test_an_encoder_that_is_away_chooses_nothing(models: Models) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await chosen("first", "", models, encoding(Having(fails=grpc.StatusCode.UNAVAILABLE)), older=False)
    assert await models.get("first") == ""


async def test_documents_of_before_keep_minilm(models: Models) -> None:
    assert await chosen("first", "", models, encoding(BEST), older=True) == MINILM
    assert await chosen("first", "", models, encoding(BEST), older=False) == MINILM


async def test_what_is_wanted_is_kept_and_another_refused(models: Models) -> None:
    assert (
        await chosen("first", "text-embedding-3-large", models, encoding(BEST), older=True) == "text-embedding-3-large"
    )
    with pytest.raises(OtherModel, match=r"first has vectors of text-embedding-3-large, and the settings say minilm"):
        await chosen("first", MINILM, models, encoding(BEST), older=False)


async def test_without_a_key_nothing_is_chosen_for_good(models: Models) -> None:
    assert await chosen("first", "", models, encoding(BEST, ""), older=False) == MINILM
    assert await models.get("first") == ""
