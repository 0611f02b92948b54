"""Translates messages to the ranking and back."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tollway.chat.v1 import chat_pb2 as chat
from tollway.router.v1 import router_pb2 as pb
from tollway.router.v1.router_pb2_grpc import RouterServiceServicer

from services.router import cascading, replay
from services.router.answers import answers, wanted
from services.router.catalogue import Catalogue
from services.router.common import Common
from services.router.conditions import Seen
from services.router.decisions import Decision, DecisionUnknown, Ids
from services.router.journal import Journal
from services.router.meaning import Meaning
from services.router.policies import EVERYBODY, Policies
from services.router.policy import CascadePolicy, Only, Policy, Route, Rule, Terms, draw, place
from services.router.predictor import Prediction, Predictor
from services.router.ranking import Model, ModelNotAllowed, ModelUnknown, Needs, Ranked, rank
from services.router.routes import Taken, considered, taken
from services.router.store import NOTHING
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
NANO = 1_000_000_000
Way = tuple[Taken | None, list[pb.Considered]]
NO_WAY: Way = None, []
ROUTES = Counted(
    "tollway.router.routes", "{route}", "Chosen first, by model, reason and route.", ("model", "reason", "route")
)
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
    policies: Policies
    journal: Journal | None = None
    meaning: Meaning | None = None
    ids: Ids = field(default_factory=Ids)
    common: Common = field(default_factory=Common)

    async def Route(self, request: pb.RouteRequest, context: object) -> pb.RouteResponse:
        tenant, auto = identity.caller().tenant, request.model == AUTO
        prediction, needs = self._prediction(request), _needs(request.needs)
        way, looked = await self._way(request, prediction, needs) if auto else NO_WAY
        policy = way.policy if way is not None else self.policies.of(tenant)
        models = self._models(request, tenant, policy)
        terms = await self._terms(request, tenant, policy, way) if auto else _named(request, policy, models)
        made = rank(models, needs, terms, prediction)
        ranked: Sequence[Ranked] = made.candidates
        tried = None
        if auto and policy.cascade is not None:
            tried = cascading.cheaper_first(ranked, policy.cascade)
            ranked = tried or ranked
        if auto and policy.sticky and request.conversation:
            await self.common.keep(tenant, request.conversation, made.candidates[0].model.name)
        task, route = prediction.task if prediction else "", way.route.name if way is not None else ""
        telemetry.note(
            tollway__router__model=ranked[0].model.name,
            tollway__router__reason=ranked[0].reason,
            tollway__router__task=task,
            tollway__router__route=route,
        )
        ROUTES.add(1, ranked[0].model.name, ranked[0].reason, route)
        REGRET.add(max(one.quality for one in made.candidates) - ranked[0].quality, ranked[0].reason)
        judging = policy.cascade if tried else None
        decision = self.ids.of(Decision(prediction, judging.enough if judging else None), tenant)
        if self.journal is not None and auto:
            now = time.time()
            self.journal.note(replay.entry(decision, tenant, now, models, needs, terms, prediction, made, route))
        return pb.RouteResponse(
            candidates=[_candidate(one, "" if auto else request.model) for one in ranked[:MOST_RANKED]],
            rejected=[pb.Rejected(model=name, reason=why) for name, why in made.rejected],
            task=task,
            decision_id=decision,
            cascade=pb.Cascade(samples=judging.samples) if judging else None,
            route=route,
            adjustment=adjustment(way.route) if way is not None else None,
            considered=looked,
        )

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        tenant, told, revision = identity.caller().tenant, None, -1
        while True:
            revision = await self.policies.after(revision)
            known = self.policies.routes(tenant)
            now = pb.WatchResponse(metadata=sorted(known.labels), account=known.account, policy=known.digest)
            if now != told:
                yield now
                told = now

    async def Judge(self, request: pb.JudgeRequest, context: object) -> pb.JudgeResponse:
        tenant = identity.caller().tenant
        decision, model = self.ids.read(request.decision_id, tenant), self.catalogue.known.get(request.completion.model)
        chance = decision.chance(model, self.common.ability(tenant, model)) if model else decision.expected.weak
        enough = CascadePolicy().enough if decision.enough is None else decision.enough
        made = cascading.judged(answers(request.completion), wanted(request.chat), chance, enough)
        telemetry.note(tollway__router__judged=made.reason, tollway__router__score=made.score)
        return pb.JudgeResponse(good=made.good, score=made.score, reason=made.reason)

    async def ReportOutcome(self, request: pb.ReportOutcomeRequest, context: object) -> pb.ReportOutcomeResponse:
        tenant = identity.caller().tenant
        try:
            decision, model = self.ids.read(request.decision_id, tenant), self.catalogue.one(request.model)
        except (DecisionUnknown, ModelUnknown):
            return pb.ReportOutcomeResponse()
        await self.common.learn(decision, tenant, model, request.good)
        if self.journal is not None:
            self.journal.note(replay.outcome(request.decision_id, tenant, time.time(), request.model, request.good))
        return pb.ReportOutcomeResponse(known=True)

    async def Replay(self, request: pb.ReplayRequest, context: object) -> pb.ReplayResponse:
        if self.journal is None:
            raise NoJournal
        tenant = identity.caller().tenant
        floor = request.quality_floor if request.HasField("quality_floor") else self.policies.of(tenant).quality_floor
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

    async def Erase(self, request: pb.EraseRequest, context: object) -> pb.EraseResponse:
        """The gateway has written it down in the tenant's audit log before it asks."""
        erased = await self.common.erase(request.tenant) if request.everything else NOTHING
        return pb.EraseResponse(erased=erased)

    async def _way(self, request: pb.RouteRequest, prediction: Prediction | None, needs: Needs) -> Way:
        """The tenant's route that the request takes, and what was looked at where that was asked for."""
        caller = identity.caller()
        if not (among := self.policies.routes(caller.tenant)).ways:
            return NO_WAY
        seen = Seen(request.text, prediction, needs, request.data_class, request.metadata, caller.account)
        way = await taken(among, seen, self.meaning.tell if self.meaning is not None else untold)
        looked = considered(among, seen, way) if request.explain else ()
        return way, [pb.Considered(route=name, why_not=why) for name, why in looked]

    def _models(self, request: pb.RouteRequest, tenant: str, policy: Policy) -> list[tuple[Model, float]]:
        """Those that may be chosen, with their abilities: the one asked for and its fallbacks, or all that key and policy allow."""
        ability = self.common.ability
        if request.model == AUTO:
            models = [one for one in self.catalogue.all(policy.models) if _allowed(request, one.name)]
            return [(one, ability(tenant, one)) for one in models]
        found = self.catalogue.one(request.model)
        if not _allowed(request, found.name):
            raise ModelNotAllowed(model=request.model)
        names = policy.fallbacks.get(found.name) or policy.fallbacks.get(EVERYBODY, ())
        others = [one for one in map(self.catalogue.known.get, names) if one is not None and one is not found]
        return [(one, one.ability) for one in (found, *others) if _allowed(request, one.name)]

    async def _terms(self, request: pb.RouteRequest, tenant: str, policy: Policy, way: Taken | None) -> Terms:
        """The policy, as the request and the state of things bend it."""
        rule = RULES.get(request.policy) or Rule(policy.rule)
        floor = request.quality_floor if request.HasField("quality_floor") else policy.quality_floor
        ceiling = request.cost_ceiling_nano_usd or round(policy.price_ceiling_usd * NANO)
        if request.budget_low:
            rule, floor = Rule.CHEAPEST_ABOVE, min(floor, policy.low_budget_floor)
        only = _only(request, policy)
        if way is not None and way.route.regions:
            only = (Only(regions=way.route.regions), *only)
        row = policy.models if rule is Rule.FIXED and not policy.model else ()
        first = await self._first(request, tenant, policy)
        return Terms(rule, floor, ceiling, policy.latency_ceiling_s, first, only, row)

    async def _first(self, request: pb.RouteRequest, tenant: str, policy: Policy) -> str:
        """Which model goes first whatever the rule says; '' for none."""
        sticky = request.conversation if policy.sticky else ""
        if sticky and (kept := await self.common.model(tenant, sticky)):
            return kept
        if policy.weights:
            return draw(policy.weights, place(f"{tenant}/{sticky}") if sticky else random.random())
        return policy.model if policy.rule == Rule.FIXED.value else ""

    def _prediction(self, request: pb.RouteRequest) -> Prediction | None:
        if not request.text or request.vector.model != STATIC or request.model != AUTO:
            return None
        return self.predictor.predict(request.text, np.frombuffer(request.vector.values, np.float32))


async def untold(seen: Seen) -> None:
    """Where nobody tells what texts mean."""
    seen.met = True


def _allowed(request: pb.RouteRequest, model: str) -> bool:
    """Whether the caller's key allows it."""
    return not request.allowed or model in request.allowed


def _named(request: pb.RouteRequest, policy: Policy, models: Sequence[tuple[Model, float]]) -> Terms:
    """For a model that was asked for: it comes first, then its fallbacks in their order."""
    return Terms(only=_only(request, policy), row=tuple(one.name for one, _ in models))


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


def adjustment(route: Route) -> pb.Adjustment | None:
    """What a model is asked with; None for nothing."""
    if not (route.system or route.reasoning_effort or route.template_options) and route.store:
        return None
    return pb.Adjustment(
        system=route.system,
        reasoning_effort=route.reasoning_effort,
        template_options=[
            chat.TemplateOption(name=name, truth=truth) for name, truth in route.template_options.items()
        ],
        no_store=not route.store,
    )


def _candidate(one: Ranked, asked: str) -> pb.Candidate:
    """`asked` is the model that the request named; '' for none."""
    return pb.Candidate(
        model=one.model.name,
        provider=one.model.provider,
        provider_model=one.model.provider_model,
        quality=one.quality,
        cost_nano_usd=one.cost,
        max_output_tokens=one.model.max_output_tokens,
        reason=one.reason if not asked else "asked_for" if one.model.name == asked else "fallback",
    )
