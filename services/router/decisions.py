"""Remembers decisions for a while, and learns from how they turned out."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from services.router.policy import CascadePolicy
from services.router.predictor import EXTRAPOLATED, UNKNOWN, Prediction
from services.router.ranking import Model
from services.runtime.errors import Failure, Kind

REMEMBERED = 100_000
RATE = 0.05
"""How far one outcome moves an ability, per unit of surprise; it shrinks as outcomes add up."""
CAUTION = 20
"""Outcomes that the prior is worth."""


class DecisionUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "DECISION_UNKNOWN"
    text = "there is no decision {decision_id}, or it is long past"
    field = "decision_id"


class Decision(Struct, frozen=True):
    tenant: str
    prediction: Prediction | None
    models: Sequence[tuple[Model, float]]
    """Those that were ranked, with their abilities then."""
    cascade: CascadePolicy | None = None
    """By which the answer of the first model is judged."""

    def ability(self, name: str) -> float | None:
        return next((ability for model, ability in self.models if model.name == name), None)

    def chance(self, name: str) -> float:
        """Predicted of a model: that its answer is good."""
        expected = self.prediction or UNKNOWN
        for model, ability in self.models:
            if model.name == name:
                return expected.chance(ability + model.by_task.get(expected.task, 0.0))
        return expected.weak


@dataclass(slots=True)
class Decisions:
    """Bounded; a tenant's outcomes change its own rankings alone."""

    _run: str = field(default_factory=lambda: os.urandom(8).hex())
    """Begins every id: another run's, or another replica's, are not taken for ours."""
    _made: int = 0
    _kept: OrderedDict[str, Decision] = field(default_factory=OrderedDict)
    _moved: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def keep(self, decision: Decision) -> str:
        """Its id."""
        self._made += 1
        one = f"{self._run}{self._made:x}"
        self._kept[one] = decision
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return one

    def of(self, decision_id: str, tenant: str) -> Decision:
        """
        Raises:
            DecisionUnknown: it is another tenant's, or long past.
        """
        decision = self._kept.get(decision_id)
        if decision is None or decision.tenant != tenant:
            raise DecisionUnknown(decision_id=decision_id)
        return decision

    def ability(self, tenant: str, model: str, prior: float) -> float:
        """The prior, moved by this tenant's outcomes."""
        return prior + self._moved.get((tenant, model), (0.0, 0))[0] if self._moved else prior

    def learn(self, decision_id: str, tenant: str, model: str, good: bool) -> bool:
        """Moves the model's ability towards the outcome (an online step of the Rasch likelihood).

        False when the decision is unknown, another tenant's, or did not rank the model.
        """
        decision = self._kept.get(decision_id)
        if decision is None or decision.tenant != tenant or (ability := decision.ability(model)) is None:
            return False
        moved, seen = self._moved.get((tenant, model), (0.0, 0))
        expected = (decision.prediction or UNKNOWN).chance(ability)
        step = RATE * 20 / (1 + seen / CAUTION) * (good - expected)
        self._moved[tenant, model] = (max(-EXTRAPOLATED, min(EXTRAPOLATED, moved + step)), seen + 1)
        return True
