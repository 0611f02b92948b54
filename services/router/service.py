"""Translates messages to the ranking and back."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from tollway.router.v1 import router_pb2 as pb
from tollway.router.v1.router_pb2_grpc import RouterServiceServicer

from services.router.catalogue import Catalogue
from services.router.decisions import Decision, Decisions
from services.router.predictor import Prediction, Predictor
from services.router.ranking import Model, ModelNotAllowed, Needs, Policy, Ranked, Rule, draw, rank
from services.runtime import identity, telemetry

AUTO = "auto"
STATIC = "static-minilm-256-1"
RULES = {
    pb.POLICY_CHEAPEST_ABOVE: Rule.CHEAPEST_ABOVE,
    pb.POLICY_BEST_UNDER_PRICE: Rule.BEST_UNDER_PRICE,
    pb.POLICY_FASTEST: Rule.FASTEST,
}
EVERYBODY = "*"
"""The tenant in `policies` that stands for those without their own."""


@dataclass(slots=True)
class RouterService(RouterServiceServicer):
    catalogue: Catalogue
    predictor: Predictor
    policies: Mapping[str, Policy]
    decisions: Decisions = field(default_factory=Decisions)

    async def Route(self, request: pb.RouteRequest, context: object) -> pb.RouteResponse:
        tenant = identity.caller().tenant
        prediction = self._prediction(request)
        models = self._models(request, tenant)
        needs = _needs(request.needs)
        policy = self._policy(tenant)
        made = rank(
            models,
            needs,
            RULES.get(request.policy) or Rule(policy.rule),
            request.quality_floor if request.HasField("quality_floor") else policy.quality_floor,
            request.cost_ceiling_nano_usd if request.model == AUTO else 0,
            prediction,
            draw(policy.weights, random.random) if policy.weights and request.model == AUTO else "",
        )
        task = prediction.task if prediction else ""
        telemetry.note(
            tollway__router__model=made.candidates[0].model.name,
            tollway__router__reason=made.candidates[0].reason,
            tollway__router__task=task,
        )
        abilities = {one.model.name: one.model.ability for one in made.candidates}
        return pb.RouteResponse(
            candidates=[_candidate(one, asked=request.model != AUTO) for one in made.candidates],
            rejected=[pb.Rejected(model=name, reason=why) for name, why in made.rejected],
            task=task,
            decision_id=self.decisions.keep(Decision(tenant, prediction, abilities)),
        )

    async def ReportOutcome(self, request: pb.ReportOutcomeRequest, context: object) -> pb.ReportOutcomeResponse:
        tenant = identity.caller().tenant
        return pb.ReportOutcomeResponse(
            known=self.decisions.learn(request.decision_id, tenant, request.model, request.good)
        )

    def _models(self, request: pb.RouteRequest, tenant: str) -> list[Model]:
        """Those that may be chosen: the one asked for, or all that key and policy allow."""
        if request.model != AUTO:
            found = self.catalogue.one(request.model)
            if request.allowed and request.model not in request.allowed:
                raise ModelNotAllowed(model=request.model)
            return [found]
        models = self.catalogue.all(self._policy(tenant).models)
        if request.allowed:
            models = [one for one in models if one.name in request.allowed]
        return [replace(one, ability=self.decisions.ability(tenant, one.name, one.ability)) for one in models]

    def _prediction(self, request: pb.RouteRequest) -> Prediction | None:
        if not request.text or request.vector.model != STATIC or request.model != AUTO:
            return None
        return self.predictor.predict(request.text, np.frombuffer(request.vector.values, np.float32))

    def _policy(self, tenant: str) -> Policy:
        return self.policies.get(tenant) or self.policies.get(EVERYBODY) or Policy()


def _needs(message: pb.Needs) -> Needs:
    return Needs(
        message.tools, message.vision, message.json_schema, message.input_tokens, message.max_output_tokens
    )  # fmt: skip


def _candidate(one: Ranked, *, asked: bool) -> pb.Candidate:
    return pb.Candidate(
        model=one.model.name,
        provider=one.model.provider,
        provider_model=one.model.provider_model,
        quality=one.quality,
        cost_nano_usd=one.cost,
        max_output_tokens=one.model.max_output_tokens,
        reason="asked_for" if asked else one.reason,
    )
