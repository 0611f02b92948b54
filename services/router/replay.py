"""What another policy would have chosen, cost and answered, decision by decision. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import astuple

from services.router.policy import Terms
from services.router.predictor import Prediction
from services.router.ranking import Model, Needs, NoCandidate, Ranking, rank


@dataclass(slots=True)
class Replayed:
    decisions: int = 0
    cost_before: int = 0
    cost_after: int = 0
    quality_before: float = 0.0
    quality_after: float = 0.0
    """Sums over the decisions."""
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    outcomes: int = 0
    good: int = 0


def entry(
    decision: str, tenant: str, at: float, models: Sequence[tuple[Model, float]], needs: Needs, terms: Terms,
    prediction: Prediction | None, made: Ranking, route: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A decision as it is logged."""
    first = made.candidates[0]
    return {
        "decision": decision,
        "tenant": tenant,
        "at": round(at, 3),
        "models": [
            [m.name, round(ability, 3), m.context_tokens, m.max_output_tokens, m.tools, m.vision, m.json_schema,
             m.input_price, m.output_price, m.available, round(m.error_rate, 3), round(m.latency_s, 4), list(m.regions),
             dict(m.by_task), m.call_price, m.web_search]
            for m, ability in models
        ],
        "needs": list(astuple(needs)),
        "expected": [round(prediction.weak, 4), round(prediction.strong, 4), prediction.task] if prediction else None,
        "only": [[list(one.models), list(one.regions)] for one in terms.only],
        "chosen": [first.model.name, round(first.quality, 4), first.cost],
        "route": route,
    }  # fmt: skip


def outcome(decision: str, tenant: str, at: float, model: str, good: bool) -> dict[str, Any]:
    """How an answer turned out, as it is logged."""
    return {"outcome": decision, "tenant": tenant, "at": round(at, 3), "model": model, "good": good}


def replayed(entries: Iterable[dict[str, Any]], terms: Terms, models: frozenset[str]) -> Replayed:
    """The sums under `terms`, over decisions in which one of `models` (all, when empty) could have answered."""
    made = Replayed()
    for one in entries:
        if "outcome" in one:
            made.outcomes += 1
            made.good += one["good"]
            continue
        known = [pair for pair in map(_model, one["models"]) if not models or pair[0].name in models]
        try:
            first = rank(known, Needs(*one["needs"]), terms, _prediction(one["expected"])).candidates[0]
        except NoCandidate:
            continue
        name, quality, cost = one["chosen"]
        made.decisions += 1
        made.before[name] += 1
        made.after[first.model.name] += 1
        made.cost_before += cost
        made.cost_after += first.cost
        made.quality_before += quality
        made.quality_after += first.quality
    return made


def _model(row: list[Any]) -> tuple[Model, float]:
    (
        name,
        ability,
        context,
        output,
        tools,
        vision,
        schema,
        paid_in,
        paid_out,
        available,
        errors,
        latency,
        regions,
        tasks,
        *more,  # the price of a call, since 0.15.0; whether it searches the web, since 0.16.0
    ) = row
    call = more[0] if more else 0
    searches = more[1] if len(more) > 1 else False
    model = Model(name, "", "", context, output, tools, vision, schema, ability, paid_in, paid_out, available, errors,
                  latency, tuple(regions), by_task=tasks, call_price=call, web_search=searches)  # fmt: skip
    return model, ability


def _prediction(expected: list[Any] | None) -> Prediction | None:
    return Prediction(*expected) if expected is not None else None
