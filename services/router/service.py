"""Translates messages to the ranking and back."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tollway.router.v1 import router_pb2 as pb
from tollway.router.v1.router_pb2_grpc import RouterServiceServicer

from services.router import cascading, replay
from services.router.answers import answers, wanted
from services.router.catalogue import Catalogue
from services.router.decisions import Decision, Decisions
from services.router.journal import Journal
from services.router.policy import CascadePolicy, Only, Policy, Rule, Terms, draw, place
from services.router.predictor import Prediction, Predictor
from services.router.ranking import Model, ModelNotAllowed, Needs, Ranked, rank
from services.router.sticky import Conversations
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.metrics import Counted

AUTO = "auto"
STATIC = "static-minilm-256-1"
RULES = {
    pb.POLICY_CHEAPEST_ABOVE: Rule.CHEAPEST_ABOVE,
    pb.POLICY_BEST_UNDER_PRICE: Rule.BEST_UNDER_PRICE,
    pb.POLICY_FASTEST: Rule.FASTEST,
}
MOST_RANKED = 16
"""Candidates that are named: a reservation and a call take no more."""
EVERYBODY = "*"
"""The tenant in `policies` that stands for those without their own."""
NANO = 1_000_000_000
ROUTES = Counted("tollway.router.routes", "{route}", "Chosen first, by model and reason.", ("model", "reason"))
REGRET = Counted(
    "tollway.router.regret",
    "{quality}",
    "Predicted quality that the best candidate had over the chosen one, summed",
    ("reason",),
)


class NoJournal(Failure):
    kind, reason = Kind.PRECONDITION, "NO_JOURNAL"
    text = "decisions are not logged here; name a folder under router.journal"


@dataclass(slots=True)
class RouterService(RouterServiceServicer):
    catalogue: Catalogue
    predictor: Predictor
    policies: Mapping[str, Policy]
    journal: Journal | None = None
    decisions: Decisions = field(default_factory=Decisions)
    conversations: Conversations = field(default_factory=Conversations)

    async def Route(self, request: pb.RouteRequest, context: object) -> pb.RouteResponse:
        tenant, auto = identity.caller().tenant, request.model == AUTO
        policy, prediction, needs = self._policy(tenant), self._prediction(request), _needs(request.needs)
        models = self._models(request, tenant, policy)
        terms = self._terms(request, tenant, policy) if auto else Terms(only=_only(request, policy))
        made = rank(models, needs, terms, prediction)
        ranked: Sequence[Ranked] = made.candidates
        tried = None
        if auto and policy.cascade is not None:
            tried = cascading.cheaper_first(ranked, policy.cascade)
            ranked = tried or ranked
        if auto and policy.sticky and request.conversation:
            self.conversations.keep(tenant, request.conversation, made.candidates[0].model.name)
        task = prediction.task if prediction else ""
        telemetry.note(
            tollway__router__model=ranked[0].model.name,
            tollway__router__reason=ranked[0].reason,
            tollway__router__task=task,
        )
        ROUTES.add(1, ranked[0].model.name, ranked[0].reason)
        REGRET.add(max(one.quality for one in made.candidates) - ranked[0].quality, ranked[0].reason)
        decision = self.decisions.keep(Decision(tenant, prediction, models))
        if self.journal is not None and auto:
            now = time.time()
            self.journal.note(replay.entry(decision, tenant, now, models, needs, terms, prediction, made))
        return pb.RouteResponse(
            candidates=[_candidate(one, auto) for one in ranked[:MOST_RANKED]],
            rejected=[pb.Rejected(model=name, reason=why) for name, why in made.rejected],
            task=task,
            decision_id=decision,
            cascade=pb.Cascade(samples=policy.cascade.samples) if tried and policy.cascade else None,
        )

    async def Judge(self, request: pb.JudgeRequest, context: object) -> pb.JudgeResponse:
        tenant = identity.caller().tenant
        decision = self.decisions.of(request.decision_id, tenant)
        chance = decision.chance(request.completion.model)
        enough = (self._policy(tenant).cascade or CascadePolicy()).enough
        made = cascading.judged(answers(request.completion), wanted(request.chat), chance, enough)
        telemetry.note(tollway__router__judged=made.reason, tollway__router__score=made.score)
        return pb.JudgeResponse(good=made.good, score=made.score, reason=made.reason)

    async def ReportOutcome(self, request: pb.ReportOutcomeRequest, context: object) -> pb.ReportOutcomeResponse:
        tenant = identity.caller().tenant
        known = self.decisions.learn(request.decision_id, tenant, request.model, request.good)
        if known and self.journal is not None:
            self.journal.note(replay.outcome(request.decision_id, tenant, time.time(), request.model, request.good))
        return pb.ReportOutcomeResponse(known=known)

    async def Replay(self, request: pb.ReplayRequest, context: object) -> pb.ReplayResponse:
        if self.journal is None:
            raise NoJournal
        tenant = identity.caller().tenant
        floor = request.quality_floor if request.HasField("quality_floor") else self._policy(tenant).quality_floor
        fixed = request.models[0] if request.rule == Rule.FIXED.value and request.models else ""
        terms = Terms(Rule(request.rule), floor, request.cost_ceiling_nano_usd, first=fixed)
        since = request.since.seconds if request.HasField("since") else 0
        self.journal.write()
        entries, models = self.journal.entries(tenant, since), frozenset(request.models)
        made = await asyncio.to_thread(replay.replayed, entries, terms, models)  # minutes of decisions: not on the loop
        count = max(made.decisions, 1)
        names = sorted({*made.before, *made.after}, key=lambda name: -max(made.before[name], made.after[name]))
        return pb.ReplayResponse(
            decisions=made.decisions,
            cost_before_nano_usd=made.cost_before,
            cost_after_nano_usd=made.cost_after,
            quality_before=made.quality_before / count,
            quality_after=made.quality_after / count,
            shares=[pb.Share(model=name, before=made.before[name], after=made.after[name]) for name in names],
            outcomes=made.outcomes,
            good_share=made.good / max(made.outcomes, 1),
        )

    def _models(self, request: pb.RouteRequest, tenant: str, policy: Policy) -> list[tuple[Model, float]]:
        """Those that may be chosen, with their abilities: the one asked for, or all that key and policy allow."""
        if request.model != AUTO:
            found = self.catalogue.one(request.model)
            if request.allowed and request.model not in request.allowed:
                raise ModelNotAllowed(model=request.model)
            return [(found, found.ability)]
        models = self.catalogue.all(policy.models)
        if request.allowed:
            models = [one for one in models if one.name in request.allowed]
        ability = self.decisions.ability
        return [(one, ability(tenant, one.name, one.ability)) for one in models]

    def _terms(self, request: pb.RouteRequest, tenant: str, policy: Policy) -> Terms:
        """The policy, as the request and the state of things bend it."""
        rule = RULES.get(request.policy) or Rule(policy.rule)
        floor = request.quality_floor if request.HasField("quality_floor") else policy.quality_floor
        ceiling = request.cost_ceiling_nano_usd or round(policy.price_ceiling_usd * NANO)
        if request.budget_low:
            rule, floor = Rule.CHEAPEST_ABOVE, min(floor, policy.low_budget_floor)
        return Terms(
            rule, floor, ceiling, policy.latency_ceiling_s, self._first(request, tenant, policy), _only(request, policy)
        )

    def _first(self, request: pb.RouteRequest, tenant: str, policy: Policy) -> str:
        """Which model goes first whatever the rule says; '' for none."""
        sticky = request.conversation if policy.sticky else ""
        if sticky and (kept := self.conversations.model(tenant, sticky)):
            return kept
        if policy.weights:
            return draw(policy.weights, place(f"{tenant}/{sticky}") if sticky else random.random())
        return policy.model if policy.rule == Rule.FIXED.value else ""

    def _prediction(self, request: pb.RouteRequest) -> Prediction | None:
        if not request.text or request.vector.model != STATIC or request.model != AUTO:
            return None
        return self.predictor.predict(request.text, np.frombuffer(request.vector.values, np.float32))

    def _policy(self, tenant: str) -> Policy:
        return self.policies.get(tenant) or self.policies.get(EVERYBODY) or DEFAULT


DEFAULT = Policy()


def _only(request: pb.RouteRequest, policy: Policy) -> tuple[Only, ...]:
    """What the tenant's policy and the guard's keep the request to."""
    made = [Only(regions=policy.regions)] if policy.regions else []
    if policy.data_classes and (kept := policy.data_classes.get(request.data_class)) is not None:
        made.append(kept)
    if request.data_models or request.data_regions:
        made.append(Only(tuple(request.data_models), tuple(request.data_regions)))
    return tuple(made)


def _needs(message: pb.Needs) -> Needs:
    return Needs(
        message.tools, message.vision, message.json_schema, message.input_tokens, message.max_output_tokens,
        message.web_search,
    )  # fmt: skip


def _candidate(one: Ranked, auto: bool) -> pb.Candidate:
    return pb.Candidate(
        model=one.model.name,
        provider=one.model.provider,
        provider_model=one.model.provider_model,
        quality=one.quality,
        cost_nano_usd=one.cost,
        max_output_tokens=one.model.max_output_tokens,
        reason=one.reason if auto else "asked_for",
    )
