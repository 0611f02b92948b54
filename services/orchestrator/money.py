"""Steps 8 and 11 as far as money goes: what is held before a call, and what becomes of the hold."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.ledger.v1 import ledger_pb2

from services.orchestrator import bounds
from services.orchestrator.allowances import Allowances, Draw
from services.orchestrator.desk import TRIES_S, Desk, Work
from services.orchestrator.facts import Budgets, Models
from services.orchestrator.failures import AllowanceUsedUp, away
from services.orchestrator.journey import Journey
from services.orchestrator.peers import Peers
from services.runtime import channels, cohorts, telemetry

CHARACTERS_A_TOKEN = 4
SETTLE_S = 5.0
LONGEST_S = 600.0
RETRY_S = 5.0
TEMPLATE, TRACE, MOST_TAGS = "template", "tollway.trace", 16


@dataclass(frozen=True, slots=True)
class Money:
    peers: Peers
    models: Models
    desk: Desk
    budgets: Budgets
    open: Callable[[Journey, str], bool]
    """Whether a request goes on while a dependency is away."""
    allowances: Allowances
    within_s: float = 1.0
    """How long a project with an allowance waits for the ledger."""
    restart_s: float = 10.0

    async def reserve(self, journey: Journey) -> None:
        """Holds the dearest of what may be asked next; a hit holds a request and no money."""
        attempts = []
        if journey.hit is None:
            asked, candidates = journey.asked, journey.candidates[: 1 if journey.cascade else None]
            answers = max(asked.n, journey.cascade.samples if journey.cascade else 0, 1)
            read, apart, searches = bounds.input_tokens(asked), bounds.kinds(asked), bounds.web_searches(asked)
            most = [min(journey.most_asked or one.max_output_tokens, one.max_output_tokens) for one in candidates]
            attempts = [
                ledger_pb2.Attempt(
                    model=one.model,
                    provider=one.provider,
                    provider_model=one.provider_model,
                    input_tokens=read * (calls := self._calls(one.model)),
                    output_tokens=limit * answers * calls,
                    compute=time_left(calls),
                    kinds=bounds.over(calls, apart),
                    service_tier=asked.service_tier,
                    calls=calls,
                    web_searches=searches * calls,
                )
                for one, limit in zip(candidates, most, strict=True)
            ]
            _clamp(journey, max(most))
        request = ledger_pb2.ReserveRequest(
            reservation_id=journey.reservation_id,
            attempts=attempts,
            ceiling_nano_usd=journey.options.cost_ceiling_nano_usd,
            again=journey.options.attempt > 1,
            likeness=journey.vector.values if journey.vector is not None else b"",
        )
        has_allowance = self.open(journey, "ledger")
        try:
            await self.peers.reach("ledger", 0 if has_allowance else self.restart_s)
            held = await self.peers.ledger.Reserve(request, timeout=self.within_s if has_allowance else None)
        except grpc.aio.AioRpcError as error:
            if not (has_allowance and away(error)):
                raise
            drawn = self.allowances.draw(journey.caller.account, attempts, journey.options.cost_ceiling_nano_usd)
            if drawn is None:
                raise AllowanceUsedUp(account=journey.caller.account, retry_after_s=RETRY_S) from None
            journey.without("ledger")
            telemetry.event("within the allowance", dependency="ledger", code=error.code().name)
            journey.drawn, journey.hold, journey.computed_ms = drawn, drawn.sealed, 0
            journey.road.held_nano_usd += drawn.amount.nano_usd
            return
        if has_allowance:
            self.allowances.keep(journey.caller.account)
        journey.drawn, journey.computed_ms = None, 0
        journey.hold = held.hold  # none when an earlier try was charged
        journey.reservation_id = held.reservation_id or journey.reservation_id
        told(journey.road, held)
        self.budgets.noted(journey.caller.account, bool(held.warnings))

    def settlement(self, journey: Journey, usage: chat.Usage) -> ledger_pb2.SettleRequest:
        """What turns the hold into what was used."""
        hit = journey.hit is not None or journey.shared
        spared = journey.hit.completion.usage if journey.hit is not None else usage
        compute = Duration()
        compute.FromMilliseconds(0 if hit else journey.computed())
        read = 0 if hit else usage.input_tokens + journey.extra_input_tokens
        calls = 2 if journey.extra_input_tokens and not hit else 1
        if journey.drawn is not None:
            model = "" if hit else journey.model
            searched = 0 if hit else usage.web_searches
            journey.drawn.used(model, read, usage.output_tokens, compute.ToMilliseconds(), calls, searched)
        return ledger_pb2.SettleRequest(
            reservation_id=journey.reservation_id,
            hold=journey.hold,
            model="" if hit else journey.model,
            input_tokens=read,
            output_tokens=0 if hit else usage.output_tokens,
            cached_input_tokens=0 if hit else usage.cached_input_tokens,
            reasoning_tokens=0 if hit else usage.reasoning_tokens,
            cached=hit,
            spared_input_tokens=spared.input_tokens if hit else 0,
            spared_output_tokens=spared.output_tokens if hit else 0,
            tags=_tags(journey),
            again=journey.options.attempt > 1,
            compute=compute,
            key_id=journey.caller.key_id if journey.drawn is not None else "",
            kinds=usage.kinds if usage.HasField("kinds") and not hit else None,
            service_tier="" if hit else usage.service_tier,
            calls=calls,
            web_searches=0 if hit else usage.web_searches,
        )

    async def settle(self, journey: Journey, usage: chat.Usage) -> ledger_pb2.SettleResponse | None:
        """Durable when it returns."""
        if not journey.hold:
            return None
        await cohorts.join("settle")
        return await self.booked(self.settlement(journey, usage), journey.drawn)

    async def booked(self, settlement: ledger_pb2.SettleRequest, drawn: Draw | None) -> ledger_pb2.SettleResponse:
        done = await self.peers.ledger.Settle(settlement, timeout=SETTLE_S)
        if drawn is not None:
            drawn.booked()
        return done

    def later(self, work: Work, drawn: Draw | None) -> None:
        """Does what ends a hold beside the request, as long as the ledger would take it."""
        self.desk.later(work, drawn.settles_for_s if drawn is not None else TRIES_S)

    async def settled(self, journey: Journey, usage: chat.Usage) -> None:
        """Settles and writes the cost into the road. Nobody waits for a ledger that was away already."""
        if journey.drawn is not None:
            settlement, drawn = self.settlement(journey, usage), journey.drawn
            self.later(lambda: self.booked(settlement, drawn), drawn)
            return
        done = await self.desk.insisted(lambda: self.settle(journey, usage))
        if isinstance(done, ledger_pb2.SettleResponse):
            journey.road.cost_nano_usd = done.cost_nano_usd + journey.spent_nano_usd

    def release(self, journey: Journey) -> None:
        """Nothing was used."""
        if journey.drawn is not None:
            journey.drawn.released()
            return
        release = ledger_pb2.ReleaseRequest(reservation_id=journey.reservation_id, hold=journey.hold)
        self.desk.later(lambda: self.peers.ledger.Release(release, timeout=SETTLE_S))

    @contextmanager
    def unless_given_up(self, journey: Journey) -> Iterator[None]:
        """Gives the request's hold up where the block does not come to its end."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self.give_up(journey)

    def give_up(self, journey: Journey) -> None:
        """The request ended early: what was written is paid for by estimate, what was not begun is released."""
        if not journey.hold:
            return
        if not journey.answer.characters and not journey.hit:
            self.release(journey)
            return
        usage = journey.answer.completion.usage
        if not usage.output_tokens:
            searches = sum(len(one.message.lookups) for one in journey.answer.completion.choices)
            read = (bounds.said_tokens(journey.asked) + bounds.WEB_SEARCH * searches) // CHARACTERS_A_TOKEN
            written = -(-journey.answer.characters // CHARACTERS_A_TOKEN)
            usage = chat.Usage(input_tokens=read, output_tokens=written, web_searches=searches, estimated=True)
        self.later(lambda: self.settle(journey, usage), journey.drawn)

    def _calls(self, model: str) -> int:
        """How many calls one answer of the model may be billed for."""
        known = self.models.known.get(model)
        return max(known.most_calls, 1) if known is not None else 1


def told(road: pb.Road, held: ledger_pb2.ReserveResponse) -> None:
    """Has the road tell what was held, and how near that came to budgets and limits."""
    road.held_nano_usd += held.held_nano_usd
    if held.warnings:
        road.budget_warnings.extend(one for one in held.warnings if one not in road.budget_warnings)
    if held.limits:
        del road.limits[:]
        road.limits.extend(held.limits)


def time_left(calls: int = 1) -> Duration:
    """How long so many calls may run for the request: no answer is waited for longer than its caller waits. In whole minutes, so that
    another try of a request asks for the same hold."""
    until = channels.DEADLINE.get()
    left = LONGEST_S if until is None else max(until - time.monotonic(), 1.0)
    return Duration(seconds=int(-(-left // 60.0) * 60) * calls)


def _tags(journey: Journey) -> Mapping[str, str]:
    """The caller's labels, and beside them the template's version and the trace that tells the road."""
    ours = {TEMPLATE: f"{journey.used[0].name}@{journey.used[0].number}"} if journey.used else {}
    if journey.traced:
        ours[TRACE] = journey.road.trace_id
    labels = dict(journey.chat.metadata)
    for name, value in ours.items():
        if len(labels) < MOST_TAGS:
            labels.setdefault(name, value)
    return labels


def _clamp(journey: Journey, most: int) -> None:
    """Nobody writes more than is held."""
    if journey.asked.max_output_tokens != most:
        clamped = chat.ChatRequest()
        clamped.CopyFrom(journey.asked)
        clamped.max_output_tokens = most
        journey.laid_out = clamped
