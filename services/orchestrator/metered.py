"""Texts on the same road as conversations: inspected, reserved, worked on, settled."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator import bounds
from services.orchestrator.charging import charged, reservation
from services.orchestrator.encoded import LOCAL
from services.orchestrator.failures import ModelNotAllowed, PromptRefused
from services.orchestrator.money import time_left
from services.orchestrator.residency import heed
from services.orchestrator.road import Road
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind

Made = TypeVar(
    "Made", pb.EmbedResponse, pb.GenerateImagesResponse, pb.ModerateResponse, pb.RerankResponse, pb.TranscribeResponse
)
Request = (
    pb.EmbedRequest
    | pb.GenerateImagesRequest
    | pb.ModerateRequest
    | pb.RerankRequest
    | pb.SpeakRequest
    | pb.TranscribeRequest
)
BILLED = (pb.GenerateImagesResponse, pb.TranscribeResponse)
"""These tell their usage whole."""


class NobodyCan(Failure):
    kind, reason = Kind.NOT_FOUND, "MODEL_UNKNOWN"
    text = "no model that the key may ask for can do this: name one, whose entry sets `{setting}`"
    field = "model"


@dataclass(slots=True)
class Paid:
    """Work that is paid for."""

    texts: list[str]
    """Masked where policy says so."""
    road: pb.Road
    usage: chat.Usage | None = None
    """What it has come to. As long as it is None, nothing has been had, and nothing is charged."""


def nothing(_: Sequence[str]) -> chat.Usage:
    return chat.Usage()


@dataclass(frozen=True, slots=True)
class Metered:
    road: Road
    scope: str = "embeddings"
    """That the key needs."""
    beside: Callable[[Sequence[str]], chat.Usage] = nothing
    """What may be billed at most beside the texts, which are masked by then."""

    async def run(self, request: Request, texts: Sequence[str], work: Callable[[list[str]], Awaitable[Made]]) -> Made:
        """What `work` makes of the texts, masked where policy says so; it is paid for by what it tells of tokens.

        Raises:
            ModelNotAllowed, RegionNotAllowed, PromptRefused, DataKept
            AioRpcError: what the ledger says, or whoever does the work.
        """
        async with self.paid(request, texts) as paid:
            made = await work(paid.texts)
            paid.usage = made.usage if isinstance(made, BILLED) else chat.Usage(input_tokens=made.input_tokens)
        made.road.CopyFrom(paid.road)
        return made

    @asynccontextmanager
    async def paid(self, request: Request, texts: Sequence[str]) -> AsyncIterator[Paid]:
        """Holds the most that work on the texts can come to. At the end of the block, however it ends, what it says is charged.

        Raises:
            ModelNotAllowed, RegionNotAllowed, PromptRefused, DataKept
            AioRpcError: what the ledger says.
        """
        caller, trace = identity.scoped(self.scope), telemetry.current()
        if not caller.allows(request.model):
            raise ModelNotAllowed(model=request.model)
        self.road.desk.room()
        model = self._elsewhere(request.model)
        if model is not None:
            heed(model, caller.regions)
        road = pb.Road(trace_id=trace.hex if trace else "", model=request.model)
        inspected = list(await self._inspected(texts, road, model))
        reserved = reservation(caller.account, request.idempotency_key)
        attempt = self._attempt(request, inspected)
        async with charged(self.road, attempt, reserved, road, again=request.attempt > 1) as one:
            paid = Paid(inspected, road)
            try:
                yield paid
            finally:
                one.usage = paid.usage

    def _elsewhere(self, name: str) -> models_pb2.Model | None:
        """The model as the catalogue has it, and without a region where it has none; None for what runs on this machine."""
        return None if name in LOCAL else self.road.models.known.get(name) or models_pb2.Model(name=name)

    def _attempt(self, request: Request, texts: Sequence[str]) -> ledger_pb2.Attempt:
        known = self.road.models.known.get(request.model)
        provider, provider_model = (known.provider, known.provider_model) if known else ("local", request.model)
        beside = self.beside(texts)
        return ledger_pb2.Attempt(
            model=request.model,
            provider=provider,
            provider_model=provider_model,
            input_tokens=bounds.texts(texts) + beside.input_tokens,
            output_tokens=beside.output_tokens,
            kinds=beside.kinds if beside.HasField("kinds") else None,
            compute=time_left(),
        )

    async def _inspected(self, texts: Sequence[str], road: pb.Road, model: models_pb2.Model | None) -> Sequence[str]:
        if not texts:
            return texts
        messages = [chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)]) for text in texts]
        seen = await self.road.inspected(
            guard_pb2.InspectPromptRequest(messages=messages, origin=guard_pb2.ORIGIN_DOCUMENT)
        )
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise PromptRefused(rule=seen.verdict.rule)
        if model is not None:
            heed(model, (), seen.verdict)
        road.findings.extend(seen.findings)
        return [one.parts[0].text for one in seen.messages] if seen.masked else texts


async def usual(road: Road, able: Callable[[models_pb2.Model], bool], setting: str) -> str:
    """The first model by name that is `able` and that the caller may ask for.

    Raises:
        NobodyCan: there is none.
    """
    allowed = identity.caller().models
    if not road.models.known:
        await road.models.read()
    names = sorted(name for name, one in road.models.known.items() if able(one) and (not allowed or name in allowed))
    if not names:
        raise NobodyCan(setting=setting)
    return names[0]


async def known(road: Road, name: str, able: Callable[[models_pb2.Model], bool], setting: str) -> models_pb2.Model:
    """The model of that name as the catalogue has it, which is read anew where it has none, since nobody could tell what to hold; without
    a name as `usual`. All that is said of one that is not there is its name.

    Raises:
        NobodyCan: as `usual`.
    """
    name = name or await usual(road, able, setting)
    if name not in road.models.known:
        await road.models.read()
    return road.models.known.get(name) or models_pb2.Model(name=name)
