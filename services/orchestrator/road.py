"""The road of one request, step by step, in the order of the design. It decides nothing: each step asks an owner."""

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator import shapes
from services.orchestrator.allowances import Allowances
from services.orchestrator.cascade import Cascade
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Budgets, Epochs, Models, Routed
from services.orchestrator.failures import (
    EVERYBODY,
    USUAL,
    Dependencies,
    ModelNotAllowed,
    NotCached,
    PromptRefused,
    away,
)
from services.orchestrator.grounding import Grounding, ground, places
from services.orchestrator.journey import Asked, Journey
from services.orchestrator.money import Money
from services.orchestrator.peers import Peers
from services.orchestrator.routing import AUTO, Routing
from services.orchestrator.shortening import Shortening
from services.orchestrator.terms import Terms
from services.orchestrator.tokens import Tokens
from services.runtime import cohorts, identity, telemetry

NAMESPACE = uuid.UUID("7b1f63c6-6f0c-4d62-9a87-3d0d38b0a2f1")


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a step may take before the road goes on without it, in seconds."""

    encoder_s: float = 0.5
    cache_s: float = 0.5
    router_s: float = 0.25
    compress_s: float = 2.0
    ledger_s: float = 1.0
    """Of a project that has an allowance."""
    restart_s: float = 10.0
    """For a service that a request cannot do without and that is being started again."""


@dataclass(slots=True)
class Road:
    peers: Peers
    models: Models
    epochs: Epochs
    desk: Desk
    dependencies: Mapping[str, Dependencies]
    default_model: str = ""
    waits: Waits = field(default_factory=Waits)
    context_tokens: Mapping[str, int] = field(default_factory=dict)
    auto_names: frozenset[str] = frozenset()
    """Other names for `auto`."""
    budgets: Budgets = field(default_factory=Budgets)
    allowances: Allowances = field(init=False)
    routed: Routed = field(init=False)
    tokens: Tokens = field(init=False)
    money: Money = field(init=False)
    _routing: Routing = field(init=False)
    _grounding: Grounding = field(init=False)
    _shortening: Shortening = field(init=False)

    def __post_init__(self) -> None:
        peers, models, waits = self.peers, self.models, self.waits
        self.routed = Routed(peers.router)
        self.allowances = Allowances(peers.ledger, models, self.desk, self._terms)
        self.tokens = Tokens(peers.ledger, self.desk.key)
        self.money = Money(
            peers, models, self.desk, self.budgets, self._open, self.allowances, waits.ledger_s, waits.restart_s
        )
        self._routing = Routing(peers, models, self.default_model, self.budgets, waits.router_s, self._vector)
        self._grounding = Grounding(peers)
        self._shortening = Shortening(peers, models, self.context_tokens, waits.compress_s)

    def called(self, request: chat.ChatRequest) -> chat.ChatRequest:
        """The request, with `auto` in place of another name for it."""
        if request.model not in self.auto_names:
            return request
        made = chat.ChatRequest()
        made.CopyFrom(request)
        made.model = AUTO
        return made

    async def enter(self, asked: Asked) -> Journey:
        """Steps 1 to 8: checked, looked up, routed, grounded, reserved. What fails on the way ends here."""
        request, options = asked.chat, asked.options
        self.desk.room()
        caller, trace = identity.scoped("chat"), telemetry.current()
        if request.model != AUTO and not caller.allows(request.model):
            raise ModelNotAllowed(model=request.model)
        key = options.idempotency_key
        reservation = uuid.uuid5(NAMESPACE, f"{caller.account}\0{key}") if key else uuid.uuid4()
        road = pb.Road(trace_id=trace.hex if trace else "", used=asked.used, degraded=asked.degraded)
        journey = Journey(caller, request, options, str(reservation), road, used=asked.used)
        journey.traced = trace is not None and trace.sampled
        journey.controls.CopyFrom(options.cache)
        journey.conditions.context_tokens = options.context_tokens
        if asked.used:
            journey.conditions.template = f"{asked.used[0].name}@{asked.used[0].number}"
        journey.most_asked = request.max_output_tokens
        if caller.models and request.model == AUTO:
            journey.controls.scope = cache_pb2.SCOPE_KEY  # what another key may use, this one perhaps may not
        await cohorts.join("encode")
        await self._encode(journey)
        await cohorts.join("inspect")
        await self._inspect(journey)
        await cohorts.join("look_up")
        await self._look_up(journey)
        await self.prepare(journey)
        if options.HasField("grounding"):
            road.documents = len(road.citations)
        return journey

    async def prepare(self, journey: Journey) -> None:
        """Steps 6 to 8: who answers, from what, and who pays. A hit needs the last alone."""
        if journey.hit is None:
            await cohorts.join("route")
            await self._routing.route(journey, self._open(journey, "router"))
            if journey.options.HasField("grounding"):
                await self._grounding.ground(journey, self._open(journey, "retrieval"))
            await self._shortening.shorten(journey)
        await cohorts.join("reserve")
        await self.money.reserve(journey)

    async def answer(self, journey: Journey) -> chat.ChatCompletion:
        """Step 9, whole: the answer as the model gave it."""
        if journey.hit is not None:
            journey.model = journey.hit.completion.model
            return journey.hit.completion
        if (tried := await self._cascaded(journey)) is not None:
            return tried
        names = [one.model for one in journey.candidates]
        await self.peers.reach("models", self.waits.restart_s)
        await cohorts.join("generate")
        journey.computes()
        made = await self.peers.models.Generate(
            models_pb2.GenerateRequest(chat=journey.asked, candidates=names, priority=journey.options.priority)
        )
        journey.computed()
        journey.model, journey.extra_input_tokens = made.model, made.extra_input_tokens
        return made.completion

    async def pieces(self, journey: Journey) -> AsyncGenerator[chat.ChatChunk, None]:
        """Step 9, streamed. Closing it ends the provider's call."""
        if journey.hit is not None:
            journey.model = journey.hit.completion.model
            yield shapes.as_chunk(journey.hit.completion)
            return
        if (tried := await self._cascaded(journey)) is not None:
            yield shapes.as_chunk(tried)
            return
        names = [one.model for one in journey.candidates]
        await self.peers.reach("models", self.waits.restart_s)
        journey.computes()
        call = self.peers.models.StreamGenerate(
            models_pb2.StreamGenerateRequest(chat=journey.asked, candidates=names, priority=journey.options.priority)
        )
        try:
            async for piece in call:
                journey.model, journey.extra_input_tokens = piece.model, piece.extra_input_tokens
                yield piece.chunk
        finally:
            journey.computed()
            call.cancel()

    async def _cascaded(self, journey: Journey) -> chat.ChatCompletion | None:
        """A cheap model's answer, where one is tried first and will do."""
        if journey.cascade is None:
            return None
        return await Cascade(self.peers, self.money, self.tokens).answer(journey)

    async def restored(self, journey: Journey, made: chat.ChatCompletion) -> chat.ChatCompletion:
        """Step 10 for a whole answer."""
        journey.answer.completion, journey.answer.characters = made, 1
        await cohorts.join("answer")
        await self.tokens.fresh()
        seen = await self.peers.guard.InspectAnswer(
            guard_pb2.InspectAnswerRequest(sealed_map=journey.road.sealed_map, completion=made)
        )
        return seen.completion

    async def shown(
        self, journey: Journey, pieces: AsyncGenerator[chat.ChatChunk, None]
    ) -> AsyncGenerator[chat.ChatChunk, None]:
        """Step 10: each piece as it may be shown. The guard answers every piece with one, and adds what it held."""
        call = self.peers.guard.InspectCompletion()
        try:
            sealed = guard_pb2.OpenCompletion(sealed_map=journey.road.sealed_map)
            await call.write(guard_pb2.InspectCompletionRequest(open=sealed))
            async for piece in pieces:
                journey.answer.add(piece)
                await call.write(guard_pb2.InspectCompletionRequest(chunk=piece))
                inspected: Any = await call.read()
                if inspected is grpc.aio.EOF:  # it has refused: its status says why
                    break
                yield inspected.chunk
            await call.done_writing()
            while (inspected := await call.read()) is not grpc.aio.EOF:
                yield inspected.chunk
        finally:
            call.cancel()

    def finish(self, journey: Journey, made: chat.ChatCompletion, paid: Callable[[], None] | None = None) -> None:
        """Step 11 in the background: the hold becomes what was used, the answer is kept. `paid` is called once the cost is known."""
        self.keep(journey, made)
        self.money.later(partial(self._settle, journey, made.usage, paid), journey.drawn)

    def keep(self, journey: Journey, made: chat.ChatCompletion) -> None:
        """Step 11 without the money, which was settled before the last piece."""
        if journey.hit is None and not journey.shared and not journey.controls.no_store:
            self.desk.later(lambda: self._store(journey, made))

    async def _settle(self, journey: Journey, usage: chat.Usage, paid: Callable[[], None] | None) -> None:
        done = await self.money.settle(journey, usage)
        if done is not None:
            journey.road.cost_nano_usd = done.cost_nano_usd + journey.spent_nano_usd
        if paid is not None:
            paid()

    async def _encode(self, journey: Journey) -> None:
        """The static vector of the last user message; decisions are made without it when the encoder is away."""
        text = journey.text
        journey.vector = await self._vector(journey, text) if text else None

    async def _vector(self, journey: Journey, text: str) -> encoder_pb2.Vector | None:
        try:
            return await self.encoded(text)
        except grpc.aio.AioRpcError as error:
            journey.done_without("encoder", error)
            return None

    async def encoded(self, text: str) -> encoder_pb2.Vector:
        """The static vector of a text."""
        made = await self.peers.encoder.Encode(encoder_pb2.EncodeRequest(texts=[text]), timeout=self.waits.encoder_s)
        return made.vectors[0]

    async def inspected(self, asked: guard_pb2.InspectPromptRequest) -> guard_pb2.InspectPromptResponse:
        """What the guard says of what is no request of the road's own; whoever asks waits for one that is being started again."""
        await self.peers.reach("guard", self.waits.restart_s)
        return await self.peers.guard.InspectPrompt(asked)

    async def _inspect(self, journey: Journey) -> None:
        request = guard_pb2.InspectPromptRequest(
            messages=journey.chat.messages, sealed_map=journey.options.sealed_map, vector=journey.vector
        )
        try:
            await self.peers.reach("guard", 0 if self._open(journey, "guard") else self.waits.restart_s)
            seen = await self.peers.guard.InspectPrompt(request)
        except grpc.aio.AioRpcError as error:
            if not (self._open(journey, "guard") and away(error)):
                raise
            journey.done_without("guard", error)
            return
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise PromptRefused(rule=seen.verdict.rule)
        journey.verdict = seen.verdict
        journey.road.findings.extend(seen.findings)
        journey.road.sealed_map = seen.sealed_map
        journey.conditions.policy_version = seen.policy_version
        journey.conditions.placeholders = seen.placeholders
        if seen.masked:
            masked = chat.ChatRequest()
            masked.CopyFrom(journey.chat)
            del masked.messages[:]
            masked.messages.extend(seen.messages)
            journey.chat = masked
            await self._encode(journey)  # no vector of raw private text is kept

    async def _look_up(self, journey: Journey) -> None:
        if journey.chat.model == AUTO:  # no route is for a model that is named
            shared = journey.controls.scope == cache_pb2.SCOPE_TENANT
            journey.conditions.routed_by = await self.routed.by(journey.caller, journey.chat.metadata, shared=shared)
        if journey.options.HasField("grounding"):
            journey.conditions.ground = ground(journey.options.grounding)
            try:
                tenant, wanted = journey.caller.tenant, places(journey.options.grounding)
                journey.conditions.retrieval_epoch = sum([await self.epochs.of(tenant, one) for one in wanted])
            except (grpc.aio.AioRpcError, TimeoutError):
                # Without the epoch nobody can tell whether an answer is still true: neither look nor keep.
                journey.controls.no_cache = journey.controls.no_store = True
                journey.without("retrieval")
        request = cache_pb2.LookupRequest(
            chat=journey.chat, vector=journey.vector, conditions=journey.conditions, controls=journey.controls
        )
        why = "UNAVAILABLE"
        try:
            found = await self.peers.cache.Lookup(request, timeout=self.waits.cache_s)
        except grpc.aio.AioRpcError as error:
            if not (self._open(journey, "cache") and away(error)):
                raise
            journey.done_without("cache", error)
        else:
            why, journey.exact_key = found.miss_reason, found.exact_key
            if found.match:
                journey.hit = found
                journey.road.cache, journey.road.cache_entry_id = found.match, found.entry_id
                journey.road.model = found.completion.model
                journey.road.citations.extend(pb.Road.FromString(found.attached).citations)
        if journey.hit is None and journey.controls.only_if_cached:
            raise NotCached(why=why)

    async def _store(self, journey: Journey, made: chat.ChatCompletion) -> None:
        await cohorts.join("store")
        took = Duration()
        took.FromMilliseconds(int((time.monotonic() - journey.began) * 1000))
        cited = pb.Road(citations=journey.road.citations)
        await self.peers.cache.Store(
            cache_pb2.StoreRequest(
                chat=journey.chat,
                vector=journey.vector,
                conditions=journey.conditions,
                controls=journey.controls,
                completion=made,
                cost_nano_usd=journey.road.cost_nano_usd or journey.road.held_nano_usd,
                took=took,
                tags=_tags(journey),
                attached=cited.SerializeToString(),
            ),
            timeout=5.0,
        )

    def _open(self, journey: Journey, dependency: str) -> bool:
        return self.open(journey.caller.account, dependency)

    def open(self, account: str, dependency: str) -> bool:
        """Whether this project goes on when `dependency` is away."""
        return bool(getattr(self._chosen(account), dependency) == "open")

    def _chosen(self, account: str) -> Dependencies:
        return self.dependencies.get(account) or self.dependencies.get(EVERYBODY) or USUAL

    def _terms(self, account: str) -> Terms | None:
        return self._chosen(account).allowance if self.open(account, "ledger") else None


def _tags(journey: Journey) -> list[str]:
    """What a stored answer is found by when it is to be dropped: its own trace, its template, the documents that it rests on."""
    own = [f"trace:{journey.road.trace_id}"] if journey.road.trace_id else []
    used = [f"template:{one.name}" for one in journey.used[:1]]
    return [*own, *used, *(f"document:{one.document_id}" for one in journey.road.citations)][:64]
