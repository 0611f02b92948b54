"""Step 6: asks the router who answers, and lays out what the route that is taken adds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.router.v1 import router_pb2

from services.orchestrator import bounds
from services.orchestrator.facts import Budgets, Models
from services.orchestrator.failures import NoModel, away
from services.orchestrator.journey import Journey, conversation, last_said
from services.orchestrator.peers import Peers
from services.runtime.status import info_of

AUTO = "auto"
LONGEST_ROUTED = 16_384
NOBODY = "NO_CANDIDATE"
NOWHERE = "-"
"""A region that no model is in."""


@dataclass(frozen=True, slots=True)
class Routing:
    peers: Peers
    models: Models
    default_model: str
    budgets: Budgets
    within_s: float
    encode: Callable[[Journey, str], Awaitable[encoder_pb2.Vector | None]]

    async def route(self, journey: Journey, may_fail: bool) -> None:
        """The candidates, best first. While the router is away, the model asked for or the tenant's default."""
        asked, text, vector = journey.chat, journey.text, journey.vector
        if not text and asked.model == AUTO and (text := last_said(asked)):
            vector = await self.encode(journey, text)  # an agent's rounds go where its question went
        request = router_pb2.RouteRequest(
            model=asked.model,
            text=text[:LONGEST_ROUTED],
            vector=vector,
            needs=_needs(asked),
            policy=journey.options.routing,
            cost_ceiling_nano_usd=journey.options.cost_ceiling_nano_usd,
            allowed=journey.caller.models,
            data_class=journey.verdict.data_class,
            data_models=journey.verdict.models,
            data_regions=_regions(journey),
            conversation=conversation(journey.caller.account, asked),
            budget_low=self.budgets.low(journey.caller.account),
            metadata=asked.metadata,
        )
        try:
            made = await self._ranked(request, journey.options.fit_context)
        except grpc.aio.AioRpcError as error:
            if not (may_fail and away(error)):
                raise
            if journey.caller.regions or journey.verdict.regions or journey.verdict.models:
                raise  # nobody else knows who may answer this
            journey.done_without("router", error)
            journey.candidates = [self._default(asked.model)]
        else:
            journey.candidates = list(made.candidates)
            journey.road.decision_id, journey.road.route = made.decision_id, made.route
            journey.cascade = made.cascade if made.HasField("cascade") else None
            if made.HasField("adjustment"):
                journey.adjust(made.adjustment)
        journey.road.model = journey.candidates[0].model
        journey.road.route_reason = journey.candidates[0].reason

    async def _ranked(self, request: router_pb2.RouteRequest, fits: bool) -> router_pb2.RouteResponse:
        """Where nobody holds all of a conversation that may be shortened, its length counts no more."""
        try:
            return await self.peers.router.Route(request, timeout=self.within_s)
        except grpc.aio.AioRpcError as error:
            if not fits or info_of(error).reason != NOBODY:
                raise
            request.needs.input_tokens = 0
            return await self.peers.router.Route(request, timeout=self.within_s)

    def _default(self, asked: str) -> router_pb2.Candidate:
        name = asked if asked != AUTO else self.default_model or self.models.first
        if (known := self.models.known.get(name)) is None:
            raise NoModel
        return router_pb2.Candidate(
            model=known.name,
            provider=known.provider,
            provider_model=known.provider_model,
            max_output_tokens=known.max_output_tokens,
            reason="router_away",
        )


def _needs(asked: chat.ChatRequest) -> router_pb2.Needs:
    return router_pb2.Needs(
        tools=bool(asked.tools),
        vision=any(part.HasField("image") for message in asked.messages for part in message.parts),
        json_schema=asked.response_format.type == chat.ResponseFormat.TYPE_JSON_SCHEMA,
        input_tokens=bounds.input_tokens(asked),
        max_output_tokens=asked.max_output_tokens,
        web_search=asked.HasField("web_search") and not asked.web_search.offered,
    )


def _regions(journey: Journey) -> list[str]:
    """Where the answer may come from: what the data and the key allow, both. Empty for anywhere."""
    data, key = journey.verdict.regions, journey.caller.regions
    if data and key:
        return [one for one in data if one in key] or [NOWHERE]
    return list(data or key)
