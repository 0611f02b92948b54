"""The public API: takes requests down the road and answers come back."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1.gateway_pb2_grpc import GatewayServiceServicer
from tollway.models.v1 import models_pb2

from services.orchestrator import encoded
from services.orchestrator.again import Again
from services.orchestrator.agent import Agent
from services.orchestrator.conversing import Conversing
from services.orchestrator.deferring import Deferring
from services.orchestrator.drawing import Drawing
from services.orchestrator.embedding import Embedding
from services.orchestrator.erasing import Erasing
from services.orchestrator.failures import ModelNotAllowed, StreamDeferred
from services.orchestrator.flights import Flights
from services.orchestrator.journey import Asked, Journey
from services.orchestrator.listening import Listening
from services.orchestrator.mirroring import Mirrored, Mirroring
from services.orchestrator.moderating import Moderating
from services.orchestrator.offering import Offering
from services.orchestrator.prompting import Prompting
from services.orchestrator.recording import Marks, Recording
from services.orchestrator.reranking import Reranking
from services.orchestrator.road import Road
from services.orchestrator.routing import AUTO
from services.orchestrator.shapes import Whole, as_chunk
from services.orchestrator.speaking import Speaking
from services.orchestrator.standing import standing
from services.orchestrator.tooling import Tooling
from services.orchestrator.workflow import invoked
from services.runtime import identity, telemetry
from services.runtime.errors import Failure

PAGE = 1000
STREAM_WAITS_S = 5.0
"""For another's answer to the same question, before a caller that wants to see words come has a stream of its own."""
FAILED = (Failure, grpc.aio.AioRpcError)
"""What a call that could not be answered ends with."""


@dataclass(slots=True)
class GatewayService(GatewayServiceServicer):
    road: Road
    deferring: Deferring
    prompting: Prompting
    mirroring: Mirroring
    recording: Recording
    again: Again
    flights: Flights = field(default_factory=Flights)
    tooling: Tooling = field(init=False)
    agent: Agent = field(init=False)

    def __post_init__(self) -> None:
        self.tooling = Tooling(self.road)
        self.agent = Agent(self.tooling)

    async def Complete(self, request: pb.CompleteRequest, context: object) -> pb.CompleteResponse:
        with invoked():
            if request.options.HasField("defer_after"):
                return await self.deferring.complete(request, self._worked)
            return await self._worked(request)

    async def _worked(self, request: pb.CompleteRequest) -> pb.CompleteResponse:
        if request.options.HasField("tools"):
            return await self.agent.complete(request, self._complete)
        return await self._complete(request)

    async def _complete(self, request: pb.CompleteRequest) -> pb.CompleteResponse:
        mirrored = self.mirroring.chosen(request.chat, request.options)
        prompted, began = await self.prompting.prompted(request.chat, request.options), time.monotonic()
        candidate_failed = False
        try:
            made = await self._answered(prompted.asked, mirrored)
        except FAILED:
            if prompted.stable is None:
                raise
            telemetry.event("the candidate failed", version=prompted.asked.used[0].number)
            made, candidate_failed = await self._answered(prompted.stable, mirrored), True
        if prompted.reported:
            self.prompting.report(prompted.asked, failed=candidate_failed, took_s=time.monotonic() - began)
        return made

    async def _answered(self, asked: Asked, mirrored: Mirrored) -> pb.CompleteResponse:
        journey = await self.road.enter(asked)
        marks = self.recording.marks(journey)
        with self.road.money.unless_given_up(journey):
            made, shown = await self._spoken(journey, marks)
        self.road.finish(journey, made, partial(mirrored.answered, journey, shown) if mirrored else None)
        self.recording.after(journey, made, marks)
        self.again.after(journey)
        self._noted(journey, made.usage)
        return pb.CompleteResponse(completion=shown, road=journey.road)

    async def StreamComplete(
        self, request: pb.StreamCompleteRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.StreamCompleteResponse]:
        if request.options.HasField("defer_after"):
            raise StreamDeferred
        with invoked():
            once = partial(self._stream, context=context)
            work = self.agent.stream(request, once) if request.options.HasField("tools") else once(request)
            async with aclosing(work) as pieces:
                async for piece in pieces:
                    yield piece

    async def _stream(
        self, request: pb.StreamCompleteRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncGenerator[pb.StreamCompleteResponse, None]:
        """What the chosen version says; the stable one's answer when that fails before its first word."""
        mirrored = self.mirroring.chosen(request.chat, request.options)
        prompted, began = await self.prompting.prompted(request.chat, request.options), time.monotonic()
        told = candidate_failed = False
        try:
            async with aclosing(self._streamed(prompted.asked, request.whole, mirrored, context)) as pieces:
                async for piece in pieces:
                    told = True
                    yield piece
        except FAILED:
            candidate_failed = prompted.stable is not None
            if prompted.stable is None or told:
                if candidate_failed:
                    self.prompting.report(prompted.asked, failed=True, took_s=0.0)
                raise
            telemetry.event("the candidate failed", version=prompted.asked.used[0].number)
            async with aclosing(self._streamed(prompted.stable, request.whole, mirrored, context)) as pieces:
                async for piece in pieces:
                    yield piece
        if prompted.reported:
            self.prompting.report(prompted.asked, failed=candidate_failed, took_s=time.monotonic() - began)

    async def _streamed(
        self, asked: Asked, whole: bool, mirrored: Mirrored, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncGenerator[pb.StreamCompleteResponse, None]:
        journey = await self.road.enter(asked)
        marks, settled, shown = self.recording.marks(journey), False, Whole()
        try:
            # The first message, once a model has begun, tells what is known; the last one what it cost.
            last, told = chat.ChatChunk(), False
            async with aclosing(self._pieces(journey, marks)) as pieces:
                async for piece in pieces:
                    if not told:
                        told = True
                        yield pb.StreamCompleteResponse(road=journey.road)
                    if piece.HasField("usage"):
                        last.usage.CopyFrom(piece.usage)
                        piece.ClearField("usage")
                    if whole or mirrored:
                        shown.add(piece)
                    last.id, last.model, last.created.seconds = piece.id, piece.model, piece.created.seconds
                    yield pb.StreamCompleteResponse(chunk=piece)
            if not told:  # a model that says nothing at all has answered, too
                yield pb.StreamCompleteResponse(road=journey.road)
            made = journey.answer.finished()
            settled = True
            await self.road.money.settled(journey, made.usage)
        finally:
            if not settled:
                self.road.money.give_up(journey)
        self.road.keep(journey, made)
        if mirrored:
            mirrored.answered(journey, shown.finished())
        self.recording.after(journey, made, marks)
        self.again.after(journey)
        self._noted(journey, made.usage)
        journey.road.model = journey.model
        context.set_trailing_metadata((("x-tollway-cost-nano-usd", str(journey.road.cost_nano_usd)),))
        end = pb.StreamCompleteResponse(chunk=last, road=journey.road)
        if whole:
            end.completion.CopyFrom(shown.finished())
            end.completion.usage.CopyFrom(last.usage)
        yield end

    async def _pieces(self, journey: Journey, marks: Marks) -> AsyncGenerator[chat.ChatChunk, None]:
        """What may be shown; of an answer that waits for a person, all of it at once."""
        if marks.hold:
            _, shown = await self._spoken(journey, marks)
            yield as_chunk(shown)
            return
        key = _shared_by(journey)
        if (joined := await self.flights.joined(key, STREAM_WAITS_S)) is not None:
            _took(journey, joined)
            async with aclosing(self.road.shown(journey, _one(as_chunk(joined)))) as pieces:
                async for piece in pieces:
                    yield piece
            return
        with self.flights.leading(key) as flight:
            async with aclosing(self.road.pieces(journey)) as raw, aclosing(self.road.shown(journey, raw)) as pieces:
                async for piece in pieces:
                    yield piece
            flight.land(journey.answer.finished())

    async def _spoken(self, journey: Journey, marks: Marks) -> tuple[chat.ChatCompletion, chat.ChatCompletion]:
        """The answer as the model, or a person, gave it; and as it is shown."""
        made = await self._shared(journey)
        if marks.hold:
            made = await self.recording.reviewed(journey, made, marks)
        return made, await self.road.restored(journey, made)

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        return await Embedding(self.road).embed(request)

    async def Rerank(self, request: pb.RerankRequest, context: object) -> pb.RerankResponse:
        return await Reranking(self.road).rerank(request)

    async def Moderate(self, request: pb.ModerateRequest, context: object) -> pb.ModerateResponse:
        return await Moderating(self.road).moderate(request)

    async def GenerateImages(self, request: pb.GenerateImagesRequest, context: object) -> pb.GenerateImagesResponse:
        return await Drawing(self.road).draw(request)

    async def Transcribe(self, request: pb.TranscribeRequest, context: object) -> pb.TranscribeResponse:
        return await Listening(self.road).transcribe(request)

    async def Speak(self, request: pb.SpeakRequest, context: object) -> AsyncIterator[pb.SpeakResponse]:
        async with aclosing(Speaking(self.road).speak(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def Converse(
        self, requests: AsyncIterator[pb.ConverseRequest], context: object
    ) -> AsyncIterator[pb.ConverseResponse]:
        async with aclosing(Conversing(self.road).converse(requests)) as said:
            async for one in said:
                yield one

    async def CountTokens(self, request: pb.CountTokensRequest, context: object) -> pb.CountTokensResponse:
        caller, asked = identity.scoped("chat"), models_pb2.CountTokensRequest(chat=self.road.called(request.chat))
        if asked.chat.model != AUTO and not caller.allows(asked.chat.model):
            raise ModelNotAllowed(model=asked.chat.model)
        made = await self.road.peers.models.CountTokens(asked)
        return pb.CountTokensResponse(input_tokens=made.input_tokens)

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        allowed = identity.caller().models
        if not self.road.models.known:
            await self.road.models.read()
        offered = await encoded.offered(self.road)
        autos = {AUTO, *self.road.auto_names}
        listed = {
            **{
                name: models_pb2.Model(name=name, provider="tollway", tools=True, vision=True, json_schema=True)
                for name in autos
            },
            **{name: models_pb2.Model(name=name, provider="local", embeddings=True, rerank=True) for name in offered},
            **self.road.models.known,
        }
        names = sorted(
            name for name in listed if name > request.page_token and (not allowed or name in autos or name in allowed)
        )
        most = request.page_size or PAGE
        more = names[most - 1] if len(names) > most else ""
        return pb.ListModelsResponse(models=[listed[name] for name in names[:most]], next_page_token=more)

    async def ListTools(self, request: pb.ListToolsRequest, context: object) -> pb.ListToolsResponse:
        return await self.tooling.offer(request)

    async def CallTool(self, request: pb.CallToolRequest, context: object) -> pb.CallToolResponse:
        return await self.tooling.call(request)

    async def ListPrompts(self, request: pb.ListPromptsRequest, context: object) -> pb.ListPromptsResponse:
        return await Offering(self.tooling).prompts(request)

    async def GetPrompt(self, request: pb.GetPromptRequest, context: object) -> pb.GetPromptResponse:
        return await Offering(self.tooling).prompt(request)

    async def ListResources(self, request: pb.ListResourcesRequest, context: object) -> pb.ListResourcesResponse:
        return await Offering(self.tooling).resources(request)

    async def ReadResource(self, request: pb.ReadResourceRequest, context: object) -> pb.ReadResourceResponse:
        return await Offering(self.tooling).document(request)

    async def GetStatus(self, request: pb.GetStatusRequest, context: object) -> pb.GetStatusResponse:
        return await standing(self.road.peers)

    async def EraseTenant(self, request: pb.EraseTenantRequest, context: object) -> pb.EraseTenantResponse:
        return pb.EraseTenantResponse(receipt=await Erasing(self.road.peers).tenant(request.tenant))

    async def EraseSubject(self, request: pb.EraseSubjectRequest, context: object) -> pb.EraseSubjectResponse:
        tenant = request.tenant or identity.caller().tenant
        return pb.EraseSubjectResponse(receipt=await Erasing(self.road.peers).subject(tenant, request.subject))

    async def _shared(self, journey: Journey) -> chat.ChatCompletion:
        """The answer; of those that ask the same at the same time only the first asks a model."""
        key = _shared_by(journey)
        if (joined := await self.flights.joined(key)) is not None:
            _took(journey, joined)
            return joined
        with self.flights.leading(key) as flight:
            made = await self.road.answer(journey)
            flight.land(made)
        journey.road.model = journey.model
        return made

    def _noted(self, journey: Journey, usage: chat.Usage) -> None:
        telemetry.note(
            tollway__model=journey.model,
            tollway__cache__hit=journey.hit is not None,
            tollway__usage__input_tokens=usage.input_tokens,
            tollway__usage__output_tokens=usage.output_tokens,
        )


def _shared_by(journey: Journey) -> str:
    """Equal for those that may have one answer; '' for a request that wants its own."""
    return journey.exact_key if journey.hit is None and journey.shareable else ""


def _took(journey: Journey, joined: chat.ChatCompletion) -> None:
    """The answer is another request's."""
    journey.model, journey.shared = joined.model, True
    telemetry.event("joined another request")


async def _one(piece: chat.ChatChunk) -> AsyncGenerator[chat.ChatChunk, None]:
    yield piece
