"""The models there are, their prices and their health, as the owners tell."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import grpc
from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from tollway.models.v1 import models_pb2, models_pb2_grpc

from services.router.profiles import Profile
from services.router.ranking import Model, ModelUnknown

log = logging.getLogger(__name__)

READ_EVERY_S = 30.0
AGAIN_S = 0.5
UNPROFILED = Profile()


@dataclass(slots=True)
class Catalogue:
    """Empty until the models service has answered once; from then on the last view is kept while it is away."""

    models: models_pb2_grpc.ModelsServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    known: dict[str, Model] = field(default_factory=dict)
    read_once: bool = False

    def all(self, names: Iterable[str] = ()) -> list[Model]:
        """Every model that chats, or those of `names`."""
        wanted = set(names)
        return [model for model in self.known.values() if not wanted or model.name in wanted]

    def one(self, name: str) -> Model:
        """The model of that name.

        Raises:
            ModelUnknown: there is none.
        """
        if (found := self.known.get(name)) is None:
            raise ModelUnknown(model=name)
        return found

    async def read(self) -> None:
        """Reads models and prices anew; health is kept."""
        listed = (await self.models.ListModels(models_pb2.ListModelsRequest(), timeout=5.0)).models
        chatting = [one for one in listed if not _other(one)]
        prices = await self._prices(chatting)
        fresh = {}
        for one in chatting:
            level, by_task = self.profiles.get(one.name, UNPROFILED).placed(one.quality)
            price = prices.get(one.name) or ledger_pb2.ModelPrice()
            made = Model(
                one.name, one.provider, one.provider_model, one.context_tokens, one.max_output_tokens,
                one.tools, one.vision, one.json_schema, level, price.input_nano_usd_per_million,
                price.output_nano_usd_per_million, regions=tuple(one.regions), by_task=by_task,
                call_price=price.nano_usd_per_call, web_search=one.web_search,
            )  # fmt: skip
            if (old := self.known.get(one.name)) is not None:
                made = replace(
                    made,
                    available=old.available,
                    error_rate=old.error_rate,
                    latency_s=old.latency_s,
                    saturation=old.saturation,
                )
            fresh[one.name] = made
        self.known, self.read_once = fresh, True

    async def follow(self) -> None:
        """Takes in health as it changes and reads the rest now and then, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reading())
            group.create_task(self._watching())

    async def _reading(self) -> None:
        while True:
            try:
                await self.read()
                wait = READ_EVERY_S
            except grpc.aio.AioRpcError as error:
                log.debug("models or prices are not read for the moment: %s", error.code().name)
                wait = AGAIN_S
            await asyncio.sleep(wait)

    async def _watching(self) -> None:
        while True:
            try:
                async for told in self.models.Watch(models_pb2.WatchRequest()):
                    for one in told.models:
                        if (old := self.known.get(one.model)) is not None:
                            self.known[one.model] = replace(
                                old,
                                available=one.available,
                                error_rate=one.error_rate,
                                latency_s=one.latency.ToMicroseconds() / 1e6,
                                saturation=one.saturation,
                            )
            except grpc.aio.AioRpcError as error:
                log.debug("health is not followed for the moment: %s", error.code().name)
            await asyncio.sleep(AGAIN_S)

    async def _prices(self, listed: Iterable[models_pb2.Model]) -> dict[str, ledger_pb2.ModelPrice]:
        asked = [
            ledger_pb2.PricedModel(model=one.name, provider=one.provider, provider_model=one.provider_model)
            for one in listed
        ]
        if not asked:
            return {}
        answer = await self.ledger.ListPrices(ledger_pb2.ListPricesRequest(models=asked), timeout=5.0)
        return {one.model: one for one in answer.prices}


def _other(one: models_pb2.Model) -> bool:
    """Whether it does something else than chat."""
    costs = (one.image_tokens, one.second_tokens, one.character_tokens)
    return one.embeddings or one.rerank or one.moderation or one.realtime or any(costs)
