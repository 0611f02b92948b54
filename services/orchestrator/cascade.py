"""Step 9 where a cheap model is tried first: it is asked alone, the router judges, and the next one answers if need be.

Both calls are paid for, each under a hold of its own. Where the money for another is refused, the first answer stands.
"""

import uuid
from dataclasses import dataclass

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2
from tollway.router.v1 import router_pb2

from services.orchestrator.failures import away
from services.orchestrator.journey import Journey
from services.orchestrator.money import Money
from services.orchestrator.peers import Peers
from services.orchestrator.shapes import Whole
from services.orchestrator.tokens import Tokens
from services.runtime import telemetry

JUDGED_WITHIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Cascade:
    peers: Peers
    money: Money
    tokens: Tokens

    async def answer(self, journey: Journey) -> chat.ChatCompletion | None:
        """The first model's answer where it will do; None when the others are to be asked, and are reserved for."""
        assert journey.cascade is not None
        first, samples = journey.candidates[0].model, journey.cascade.samples
        asked = chat.ChatRequest()
        asked.CopyFrom(journey.asked)
        if samples > 1 and asked.n <= 1:
            asked.n = samples
        request = models_pb2.GenerateRequest(chat=asked, candidates=[first], priority=journey.options.priority)
        try:
            journey.computes()
            made = await self.peers.models.Generate(request)
        except grpc.aio.AioRpcError as error:
            if not (away(error) or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED):
                raise
            telemetry.event("cascade", reason="away", model=first)
            await self._go_on(journey, None)
            return None
        journey.computed()
        await self.tokens.fresh()
        tried, journey.model, journey.extra_input_tokens = made.completion, first, made.extra_input_tokens
        journey.answer.completion, journey.answer.characters = tried, 1  # paid for even when the caller leaves now
        verdict = await self._judged(journey, asked, tried)
        telemetry.event("cascade", reason=verdict.reason, model=first)
        if journey.asked.n <= 1:
            del tried.choices[1:]
        if not verdict.good:
            try:
                await self._go_on(journey, tried.usage)
            except grpc.aio.AioRpcError as error:
                telemetry.event("cascade", reason="no hold for another", code=error.code().name)
            else:
                journey.answer = Whole()
                return None
        journey.road.model, journey.answer = first, Whole()
        return tried

    async def _judged(
        self, journey: Journey, asked: chat.ChatRequest, tried: chat.ChatCompletion
    ) -> router_pb2.JudgeResponse:
        """The router's verdict; without it nobody knows that the answer is good."""
        request = router_pb2.JudgeRequest(decision_id=journey.road.decision_id, chat=asked, completion=tried)
        try:
            return await self.peers.router.Judge(request, timeout=JUDGED_WITHIN_S)
        except grpc.aio.AioRpcError as error:
            return router_pb2.JudgeResponse(reason=f"judge away, {error.code().name}")

    async def _go_on(self, journey: Journey, used: chat.Usage | None) -> None:
        """Takes a hold for the other candidates; then the first one becomes what was `used`, or is released.

        Raises:
            grpc.aio.AioRpcError: the ledger refuses; everything is as it was.
        """
        before = journey.hold, journey.reservation_id, journey.drawn, journey.candidates, journey.cascade
        first = self.money.settlement(journey, used) if used is not None else None
        journey.reservation_id = str(uuid.uuid5(uuid.UUID(journey.reservation_id), "cascade"))
        journey.candidates, journey.cascade = journey.candidates[1:], None
        held = False
        try:
            await self.money.reserve(journey)
            held = True
        finally:
            if not held:  # refused, or the caller has left
                journey.hold, journey.reservation_id, journey.drawn, journey.candidates, journey.cascade = before
        journey.road.model, journey.road.route_reason = journey.candidates[0].model, "escalated"
        after = journey.hold, journey.reservation_id, journey.drawn
        journey.hold, journey.reservation_id, journey.drawn = before[:3]
        if first is None:
            self.money.release(journey)
        elif journey.hold:
            await self._settle(journey, first)
        journey.hold, journey.reservation_id, journey.drawn = after
        journey.extra_input_tokens = 0

    async def _settle(self, journey: Journey, first: ledger_pb2.SettleRequest) -> None:
        """Its cost counts towards the answer's; a ledger that is away gets it later."""
        drawn = journey.drawn
        try:
            done = await self.money.booked(first, drawn)
        except grpc.aio.AioRpcError:
            self.money.later(lambda: self.money.booked(first, drawn), drawn)
        else:
            journey.spent_nano_usd += done.cost_nano_usd
