"""Which of the models there are may answer a conversation."""

from typing import Any

from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2

from services.router.catalogue import Catalogue


class Owners:
    """The models and the ledger, as far as they are asked here."""

    async def ListModels(self, _: models_pb2.ListModelsRequest, **more: Any) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(
            models=[
                models_pb2.Model(name="chats", context_tokens=8000),
                models_pb2.Model(name="embeds", embeddings=True),
                models_pb2.Model(name="ranks", rerank=True),
            ]
        )

    async def ListPrices(self, request: ledger_pb2.ListPricesRequest, **more: Any) -> ledger_pb2.ListPricesResponse:
        assert [one.model for one in request.models] == ["chats"]
        return ledger_pb2.ListPricesResponse()


async def test_models_that_embed_or_rank_answer_no_conversation() -> None:
    catalogue = Catalogue(Owners(), Owners())  # type: ignore[arg-type]
    await catalogue.read()
    assert [model.name for model in catalogue.all()] == ["chats"]
