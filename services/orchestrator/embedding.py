"""Embeddings on the same road: inspected, reserved, made, settled."""

import time
import uuid
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator import bounds
from services.orchestrator.failures import ModelNotAllowed, PromptRefused
from services.orchestrator.money import time_left
from services.orchestrator.road import NAMESPACE, Road
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind

BGE_SMALL = "bge-small"
LOCAL = {"minilm": encoder_pb2.TIER_MINILM, "static": encoder_pb2.TIER_STATIC, BGE_SMALL: encoder_pb2.TIER_BGE_SMALL}
"""Models that the encoder of the mesh answers."""
BATCH = 512


class TooManyDimensions(Failure):
    kind, reason = Kind.INVALID, "TOO_MANY_DIMENSIONS"
    text = "{model} has {most} dimensions"
    field = "dimensions"


class ModelUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "MODEL_UNKNOWN"
    text = "the encoder has no model {model}: it was installed without"
    field = "model"


@dataclass(frozen=True, slots=True)
class Embedding:
    road: Road

    async def embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        caller, trace = identity.scoped("embeddings"), telemetry.current()
        if caller.models and request.model not in caller.models:
            raise ModelNotAllowed(model=request.model)
        self.road.desk.room()
        road = pb.Road(trace_id=trace.hex if trace else "", model=request.model)
        texts = await self._inspected(request, road)
        reservation, tokens = (
            _reservation(caller.account, request.idempotency_key),
            sum(bounds.AROUND_MESSAGE + len(text.encode()) for text in texts),
        )
        known = self.road.models.known.get(request.model)
        provider, provider_model = (known.provider, known.provider_model) if known else ("local", request.model)
        await self.road.peers.reach("ledger", self.road.waits.restart_s)
        held = await self.road.peers.ledger.Reserve(
            ledger_pb2.ReserveRequest(
                reservation_id=reservation,
                again=request.attempt > 1,
                attempts=[
                    ledger_pb2.Attempt(
                        model=request.model,
                        provider=provider,
                        provider_model=provider_model,
                        input_tokens=tokens,
                        compute=time_left(),
                    )
                ],
            )
        )
        road.held_nano_usd = held.held_nano_usd
        reservation = held.reservation_id or reservation
        hold = ledger_pb2.ReleaseRequest(reservation_id=reservation, hold=held.hold)
        made, began, compute = None, time.monotonic(), Duration()
        try:
            made = await self._made(request, texts)
        finally:
            if made is None and not held.paid:
                self.road.desk.later(lambda: self.road.peers.ledger.Release(hold, timeout=5.0))
        compute.FromMilliseconds(int((time.monotonic() - began) * 1000))
        settle = ledger_pb2.SettleRequest(
            reservation_id=reservation,
            hold=held.hold,
            model=request.model,
            input_tokens=made.input_tokens,
            again=request.attempt > 1,
            compute=compute,
        )
        if not held.paid:
            self.road.desk.later(lambda: self.road.peers.ledger.Settle(settle, timeout=5.0))
        made.road.CopyFrom(road)
        return made

    async def offered(self) -> list[str]:
        """The encoder's models that are installed; while it is away, those that every encoder has."""
        try:
            made = await self.road.peers.encoder.ListModels(encoder_pb2.ListModelsRequest())
        except grpc.aio.AioRpcError:
            return [name for name in LOCAL if name != BGE_SMALL]
        there = {one.tier for one in made.models}
        return [name for name, tier in LOCAL.items() if tier in there]

    async def _inspected(self, request: pb.EmbedRequest, road: pb.Road) -> list[str]:
        """The texts, masked where policy says so."""
        messages = [chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)]) for text in request.texts]
        await self.road.peers.reach("guard", self.road.waits.restart_s)
        seen = await self.road.peers.guard.InspectPrompt(
            guard_pb2.InspectPromptRequest(messages=messages, origin=guard_pb2.ORIGIN_DOCUMENT)
        )
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise PromptRefused(rule=seen.verdict.rule)
        road.findings.extend(seen.findings)
        return [one.parts[0].text for one in seen.messages] if seen.masked else list(request.texts)

    async def _made(self, request: pb.EmbedRequest, texts: list[str]) -> pb.EmbedResponse:
        await self.road.peers.reach("encoder" if request.model in LOCAL else "models", self.road.waits.restart_s)
        if request.model not in LOCAL:
            found = await self.road.peers.models.Embed(
                models_pb2.EmbedRequest(
                    model=request.model, texts=texts, dimensions=request.dimensions, priority=request.priority
                )
            )
            return pb.EmbedResponse(embeddings=found.embeddings, input_tokens=found.input_tokens, model=found.model)
        made = pb.EmbedResponse(model=request.model, input_tokens=sum(-(-len(text) // 4) for text in texts))
        for start in range(0, len(texts), BATCH):
            await self.road.tokens.fresh()
            part = encoder_pb2.EncodeRequest(texts=texts[start : start + BATCH], tier=LOCAL[request.model])
            try:
                vectors = (await self.road.peers.encoder.Encode(part)).vectors
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise ModelUnknown(model=request.model) from None
                raise
            for vector in vectors:
                made.embeddings.add(values=self._cut(request, np.frombuffer(vector.values, np.float32)))
        return made

    def _cut(self, request: pb.EmbedRequest, values: "np.typing.NDArray[np.float32]") -> list[float]:
        if request.dimensions > len(values):
            raise TooManyDimensions(model=request.model, most=len(values))
        if request.dimensions:
            values = values[: request.dimensions] / max(float(np.linalg.norm(values[: request.dimensions])), 1e-9)
        return [float(one) for one in values]


def _reservation(account: str, key: str) -> str:
    """The same for every try of a request that bears a key."""
    return str(uuid.uuid5(NAMESPACE, f"{account}\0{key}") if key else uuid.uuid4())
