"""Translates messages to the wires and back. The order of attempts is in `ranking`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2 as pb
from tollway.models.v1.models_pb2_grpc import ModelsServiceServicer

from services.models.catalogue import Entry
from services.models.compression import Compressor
from services.models.conversing import OpenMissing, conversed
from services.models.gathering import Gathering
from services.models.history import shortened
from services.models.limits import Priority
from services.models.pools import Asker
from services.models.ranking import Ranking, Told
from services.models.wires.adapter import Wanted
from services.runtime import channels, identity

PAGE = 1000
AUTO = "auto"
"""Whichever the router chooses: all are counted alike."""
CHARACTERS_A_TOKEN = 4
PRIORITIES = {pb.PRIORITY_LOW: Priority.LOW, pb.PRIORITY_HIGH: Priority.HIGH}
HEALTH_EVERY_S = 2.0


@dataclass(slots=True)
class ModelsService(ModelsServiceServicer):
    ranking: Ranking
    compressor: Compressor
    gathering: Gathering = field(init=False)

    def __post_init__(self) -> None:
        self.gathering = Gathering(self.ranking)

    async def Generate(self, request: pb.GenerateRequest, context: object) -> pb.GenerateResponse:
        names, told = list(request.candidates) or [request.chat.model], Told()
        made = await self.ranking.complete(
            names, request.chat, _asker(request.priority, _characters(request.chat)), told
        )
        return pb.GenerateResponse(
            completion=made, model=told.model, attempts=told.attempts, extra_input_tokens=told.extra_input_tokens
        )

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: object
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        names, told = list(request.candidates) or [request.chat.model], Told()
        asker = _asker(request.priority, _characters(request.chat))
        async with aclosing(self.ranking.stream(names, request.chat, asker, told)) as pieces:
            async for piece in pieces:
                yield pb.StreamGenerateResponse(
                    chunk=piece, model=told.model, attempts=told.attempts, extra_input_tokens=told.extra_input_tokens
                )

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        asker = _asker(request.priority, sum(map(len, request.texts)))
        ask = self.gathering.embed if asker.priority is Priority.LOW else self.ranking.embed
        made = await ask(request.model, list(request.texts), request.dimensions, asker)
        vectors = [pb.Embedding(values=values) for values in made.vectors]
        return pb.EmbedResponse(embeddings=vectors, input_tokens=made.input_tokens, model=request.model)

    async def Rerank(self, request: pb.RerankRequest, context: object) -> pb.RerankResponse:
        asker = _asker(request.priority, len(request.query) + sum(map(len, request.documents)))
        made = await self.ranking.rerank(request.model, request.query, list(request.documents), asker)
        ranked = [pb.Ranked(index=index, score=score) for index, score in made.scores]
        return pb.RerankResponse(ranked=ranked, input_tokens=made.input_tokens, model=request.model)

    async def Moderate(self, request: pb.ModerateRequest, context: object) -> pb.ModerateResponse:
        asker = _asker(request.priority, sum(map(len, request.texts)))
        made = await self.ranking.moderate(request.model, list(request.texts), asker)
        return pb.ModerateResponse(
            moderations=map(_moderation, made.texts), input_tokens=made.input_tokens, model=request.model
        )

    async def GenerateImages(self, request: pb.GenerateImagesRequest, context: object) -> pb.GenerateImagesResponse:
        asker = _asker(request.priority, len(request.prompt))
        options = {one.name: value for one, value in request.options.ListFields()}
        mask = request.mask if request.HasField("mask") else None
        wanted = Wanted(request.prompt, request.count or 1, options, request.pictures, mask)
        made = await self.ranking.draw(request.model, wanted, asker)
        return pb.GenerateImagesResponse(
            images=made.images, usage=made.usage, model=request.model, options=made.options
        )

    async def Transcribe(self, request: pb.TranscribeRequest, context: object) -> pb.TranscribeResponse:
        asker = _asker(request.priority, 0)
        made = await self.ranking.transcribe(request.model, request.recording, request.most_seconds, asker)
        return pb.TranscribeResponse(transcript=made.transcript, usage=made.usage, model=request.model)

    async def Speak(self, request: pb.SpeakRequest, context: object) -> AsyncIterator[pb.SpeakResponse]:
        asker = _asker(request.priority, len(request.text))
        async with aclosing(self.ranking.speak(request.model, request.text, request.options, asker)) as pieces:
            async for piece in pieces:
                model = request.model if piece.content_type else ""
                yield pb.SpeakResponse(
                    audio=piece.audio, content_type=piece.content_type, usage=piece.usage, model=model
                )

    async def Converse(
        self, requests: AsyncIterator[pb.ConverseRequest], context: object
    ) -> AsyncIterator[pb.ConverseResponse]:
        first = await anext(requests, None)
        if first is None or not first.HasField("open"):
            raise OpenMissing
        asker = _asker(first.open.priority, 0)
        async with aclosing(conversed(self.ranking, first.open, asker, requests)) as said:
            async for one in said:
                yield one

    async def CountTokens(self, request: pb.CountTokensRequest, context: object) -> pb.CountTokensResponse:
        if request.chat.model != AUTO:
            self.ranking.catalogue.entry(request.chat.model)
        return pb.CountTokensResponse(input_tokens=self.compressor.count.prompt(request.chat))

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        entries = self.ranking.catalogue.entries
        names = [name for name in sorted(entries) if name > request.page_token]
        most = request.page_size or PAGE
        page = names[:most]
        more = page[-1] if len(names) > most else ""
        return pb.ListModelsResponse(models=[_model(name, entries[name]) for name in page], next_page_token=more)

    async def Compress(self, request: pb.CompressRequest, context: object) -> pb.CompressResponse:
        made = await self.compressor.passages(list(request.texts), request.query, request.max_tokens)
        return pb.CompressResponse(
            texts=made.texts,
            tokens_before=made.tokens_before,
            tokens_after=made.tokens_after,
            dropped=made.dropped,
            cuts=[pb.Cut(text=one.passage, start=one.start, end=one.end, tokens=one.tokens) for one in made.cuts],
        )

    async def CompressChat(self, request: pb.CompressChatRequest, context: object) -> pb.CompressChatResponse:
        made = await shortened(self.compressor, request.chat, request.max_tokens)
        return pb.CompressChatResponse(
            chat=made.chat,
            tokens_before=made.tokens_before,
            tokens_after=made.tokens_after,
            messages_dropped=made.messages_dropped,
        )

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        changed = asyncio.Event()
        watched = [one.health for pool in self.ranking.pools.values() for one in pool.endpoints]
        for health in watched:
            health.listeners.append(changed.set)
        told: dict[str, tuple[int, ...]] | None = None
        try:
            while True:
                changed.clear()  # before the look: what changes while the caller reads is seen in the next round
                now = {
                    name: (one.available, *(round(20 * n) for n in (one.error_rate, one.latency_s, one.saturation)))
                    for name, one in self.ranking.pools.items()
                }
                fresh = [name for name, state in now.items() if told is None or told.get(name) != state]
                if fresh or told is None:  # where there is no model, that is told, too
                    yield pb.WatchResponse(models=[self._health(name) for name in fresh])
                told = now
                try:
                    async with asyncio.timeout(HEALTH_EVERY_S):
                        await changed.wait()
                except TimeoutError:
                    continue  # nothing opened or closed: latencies may have moved
        finally:
            for health in watched:
                health.listeners.remove(changed.set)

    def _health(self, name: str) -> pb.Health:
        pool, latency = self.ranking.pools[name], Duration()
        latency.FromMicroseconds(int(pool.latency_s * 1e6))
        return pb.Health(
            model=name,
            available=pool.available,
            error_rate=pool.error_rate,
            latency=latency,
            saturation=pool.saturation,
        )


def _asker(priority: "pb.Priority.ValueType", characters: int) -> Asker:
    return Asker(
        identity.caller().tenant,
        PRIORITIES.get(priority, Priority.NORMAL),
        characters // CHARACTERS_A_TOKEN,
        channels.DEADLINE.get(),
    )


def _characters(request: chat.ChatRequest) -> int:
    return sum(len(part.text) for message in request.messages for part in message.parts)


def _model(name: str, entry: Entry) -> pb.Model:
    return pb.Model(
        name=name,
        provider=entry.provider,
        provider_model=entry.model,
        wire=entry.spoken,
        context_tokens=entry.context_tokens,
        max_output_tokens=entry.max_output_tokens,
        tools=entry.tools,
        vision=entry.vision,
        json_schema=entry.json_schema,
        embeddings=entry.embeddings,
        rerank=entry.rerank,
        moderation=entry.moderation,
        image_tokens=entry.image_tokens,
        second_tokens=entry.second_tokens,
        character_tokens=entry.character_tokens,
        web_search=entry.searches,
        realtime=entry.realtime,
        quality=entry.quality,
        most_calls=entry.most_calls,
        regions=sorted({one.region for one in entry.places if one.region}),
    )


def _moderation(found: dict[str, tuple[bool, float]]) -> pb.Moderation:
    made = pb.Moderation(flagged=any(flagged for flagged, _ in found.values()))
    for name, (flagged, score) in found.items():
        made.categories[name].CopyFrom(pb.Harm(flagged=flagged, score=score))
    return made
