"""Translates messages to the wires and back. The order of attempts is in `ranking`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from google.protobuf.duration_pb2 import Duration
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tollway.models.v1 import models_pb2 as pb
from tollway.models.v1.models_pb2_grpc import ModelsServiceServicer

from services.models import compress, faults
from services.models.catalogue import Entry
from services.models.counting import Counter
from services.models.ranking import Ranking
from services.models.wires.adapter import Target
from services.runtime import telemetry

PAGE = 1000
HEALTH_EVERY_S = 2.0


@dataclass(slots=True)
class ModelsService(ModelsServiceServicer):
    ranking: Ranking
    encoder: encoder_pb2_grpc.EncoderServiceStub
    count: Counter

    async def Generate(self, request: pb.GenerateRequest, context: object) -> pb.GenerateResponse:
        names = list(request.candidates) or [request.chat.model]
        made, model, tried = await self.ranking.complete(names, request.chat)
        self._noted(model, made.usage)
        return pb.GenerateResponse(completion=made, model=model, attempts=tried)

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: object
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        names = list(request.candidates) or [request.chat.model]
        async with aclosing(self.ranking.stream(names, request.chat)) as pieces:
            async for piece, model, tried in pieces:
                if piece.HasField("usage"):
                    self._noted(model, piece.usage)
                yield pb.StreamGenerateResponse(chunk=piece, model=model, attempts=tried)

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        target = Target(request.model, self.ranking.catalogue.entry(request.model))
        wire = self.ranking.wires[target.entry.wire]
        if not target.entry.embeddings:
            raise faults.Unsupported(model=request.model, what="embed")
        made = await wire.embed(target, list(request.texts), request.dimensions)
        vectors = [pb.Embedding(values=values) for values in made.vectors]
        return pb.EmbedResponse(embeddings=vectors, input_tokens=made.input_tokens, model=request.model)

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        entries = self.ranking.catalogue.entries
        names = [name for name in sorted(entries) if name > request.page_token]
        most = request.page_size or PAGE
        page = names[:most]
        more = page[-1] if len(names) > most else ""
        return pb.ListModelsResponse(models=[_model(name, entries[name]) for name in page], next_page_token=more)

    async def Compress(self, request: pb.CompressRequest, context: object) -> pb.CompressResponse:
        parts = [one for n, text in enumerate(request.texts) for one in compress.sentences(n, text, self.count.text)]
        before = sum(one.tokens for one in parts)
        if before <= request.max_tokens:
            return pb.CompressResponse(texts=request.texts, tokens_before=before, tokens_after=before)
        vectors = await self._encoded([request.query, *(one.text for one in parts)])
        kept = compress.chosen(parts, vectors[1:], request.query, vectors[0], request.max_tokens)
        texts = [""] * len(request.texts)
        for one, stays in zip(parts, kept, strict=True):
            texts[one.passage] += one.text if stays else ""
        return pb.CompressResponse(
            texts=[text.strip() for text in texts],
            tokens_before=before,
            tokens_after=sum(one.tokens for one, stays in zip(parts, kept, strict=True) if stays),
            dropped=kept.count(False),
        )

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        changed = asyncio.Event()
        for health in self.ranking.health.values():
            health.listeners.append(changed.set)
        told: dict[str, tuple[bool, int, int]] = {}
        try:
            while True:
                changed.clear()  # before the look: what changes while the caller reads is seen in the next round
                now = {
                    name: (one.available, round(one.error_rate * 20), round(one.latency_s * 20))
                    for name, one in self.ranking.health.items()
                }
                if fresh := [name for name, state in now.items() if told.get(name) != state]:
                    yield pb.WatchResponse(models=[self._health(name) for name in fresh])
                told = now
                try:
                    async with asyncio.timeout(HEALTH_EVERY_S):
                        await changed.wait()
                except TimeoutError:
                    continue  # nothing opened or closed: latencies may have moved
        finally:
            for health in self.ranking.health.values():
                health.listeners.remove(changed.set)

    async def _encoded(self, texts: list[str]) -> compress.Vectors:
        made = []
        for start in range(0, len(texts), 512):
            answer = await self.encoder.Encode(encoder_pb2.EncodeRequest(texts=texts[start : start + 512]))
            made += [np.frombuffer(vector.values, np.float32) for vector in answer.vectors]
        return np.stack(made)

    def _health(self, name: str) -> pb.Health:
        health = self.ranking.health[name]
        latency = Duration()
        latency.FromMicroseconds(int(health.latency_s * 1e6))
        return pb.Health(model=name, available=health.available, error_rate=health.error_rate, latency=latency)

    def _noted(self, model: str, usage: object) -> None:
        entry = self.ranking.catalogue.entry(model)
        telemetry.note(
            gen_ai__operation__name="chat",
            gen_ai__provider__name=entry.provider,
            gen_ai__request__model=entry.model,
            gen_ai__usage__input_tokens=getattr(usage, "input_tokens", 0),
            gen_ai__usage__output_tokens=getattr(usage, "output_tokens", 0),
        )


def _model(name: str, entry: Entry) -> pb.Model:
    return pb.Model(
        name=name,
        provider=entry.provider,
        provider_model=entry.model,
        wire=entry.wire,
        context_tokens=entry.context_tokens,
        max_output_tokens=entry.max_output_tokens,
        tools=entry.tools,
        vision=entry.vision,
        json_schema=entry.json_schema,
        embeddings=entry.embeddings,
        quality=entry.quality,
    )
