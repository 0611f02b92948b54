"""Ranks models for one request. Pure: what is known comes in, an order with reasons goes out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from services.router.predictor import Prediction
from services.runtime.errors import Failure, Kind

UNHEALTHY = 0.5
"""Share of failed calls from which a model stands behind all healthy ones."""
USUAL_OUTPUT_TOKENS = 400
"""Expected length of an answer, for predicted cost, until the request's own limit says less."""


class ModelUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "MODEL_UNKNOWN"
    text = "there is no model {model}"
    field = "model"


class NoCandidate(Failure):
    kind, reason = Kind.PRECONDITION, "NO_CANDIDATE"
    text = "no model can do all that the request needs: {why}"


class ModelNotAllowed(Failure):
    kind, reason = Kind.DENIED, "MODEL_NOT_ALLOWED"
    text = "the API key does not allow {model}"
    field = "model"


class Rule(Enum):
    CHEAPEST_ABOVE = "cheapest_above"
    BEST_UNDER_PRICE = "best_under_price"
    FASTEST = "fastest"


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model now."""

    name: str
    provider: str
    provider_model: str
    context_tokens: int
    max_output_tokens: int
    tools: bool
    vision: bool
    json_schema: bool
    ability: float
    """0 at the weak anchor of the predictor, 1 at the strong one."""
    input_price: int = 0
    """Nano-dollars for a million tokens."""
    output_price: int = 0
    available: bool = True
    error_rate: float = 0.0
    latency_s: float = 0.0
    """Usual time to the first piece; 0 while unknown."""


@dataclass(frozen=True, slots=True)
class Needs:
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    input_tokens: int = 0
    max_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """How a tenant's requests are ranked: section `policies` of the router's settings."""

    rule: str = "cheapest_above"
    """`cheapest_above`, `best_under_price` or `fastest`."""
    quality_floor: float = 0.95
    """How much of the best candidate's predicted quality is enough."""
    models: tuple[str, ...] = ()
    """The only models that `auto` may choose; empty for all."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Shares of traffic by model, for a split or a canary: the drawn one stands first where it can answer."""


@dataclass(frozen=True, slots=True)
class Ranked:
    model: Model
    quality: float
    cost: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ranking:
    candidates: Sequence[Ranked]
    rejected: Sequence[tuple[str, str]]


def rank(
    models: Iterable[Model],
    needs: Needs,
    rule: Rule,
    floor: float,
    ceiling: int,
    prediction: Prediction | None,
    drawn: str = "",
) -> Ranking:
    """Orders `models`; `prediction` is None where the text is unknown, and abilities alone decide.

    The best candidate's quality sets the mark. Cheapest-above puts the cheapest that comes within `floor` of it
    first; those below follow by quality, so that a fallback is the next best answer. A model that fails too often
    or whose breaker is open comes after every healthy one.

    Raises:
        NoCandidate: none can do what is needed, and why not.
    """
    able, rejected = [], []
    for model in models:
        if why := unable(model, needs):
            rejected.append((model.name, why))
        else:
            able.append(model)
    priced = [(model, _quality(model, prediction), cost_of(model, needs)) for model in able]
    if ceiling:
        rejected += [
            (model.name, f"predicted to cost {cost} nano-dollars, above {ceiling}")
            for model, _, cost in priced
            if cost > ceiling
        ]
        priced = [one for one in priced if one[2] <= ceiling]
    if not priced:
        raise NoCandidate(why="; ".join(f"{name}: {why}" for name, why in rejected) or "the catalogue is empty")
    best = max(quality for _, quality, _ in priced)
    ranked = [_reasoned(one, rule, best, floor) for one in priced]
    ranked.sort(key=lambda pair: (not _healthy(pair[1].model), pair[1].model.name != drawn, pair[0]))
    return Ranking([one for _, one in ranked], rejected)


def unable(model: Model, needs: Needs) -> str:
    """Why `model` cannot serve; '' when it can."""
    if needs.tools and not model.tools:
        return "does not call tools"
    if needs.vision and not model.vision:
        return "does not see pictures"
    if needs.json_schema and not model.json_schema:
        return "does not hold to a JSON schema"
    if needs.max_output_tokens > model.max_output_tokens:
        return f"writes at most {model.max_output_tokens} tokens"
    # The bound of the input is a byte a token, four times too much for most text: refuse what surely cannot fit.
    if needs.input_tokens // 8 + needs.max_output_tokens > model.context_tokens:
        return f"holds {model.context_tokens} tokens"
    return ""


def cost_of(model: Model, needs: Needs) -> int:
    """Predicted nano-dollars: a token for four bytes in, a usual answer out."""
    output = min(needs.max_output_tokens or USUAL_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS, model.max_output_tokens)
    return (needs.input_tokens // 4 * model.input_price + output * model.output_price) // 1_000_000


def _quality(model: Model, prediction: Prediction | None) -> float:
    return (prediction or Prediction(0.688, 0.813, "")).chance(model.ability)


def _healthy(model: Model) -> bool:
    return model.available and model.error_rate < UNHEALTHY


def _reasoned(one: tuple[Model, float, int], rule: Rule, best: float, floor: float) -> tuple[tuple[float, ...], Ranked]:
    model, quality, cost = one
    order: tuple[float, ...]
    enough = quality >= best - (1 - floor)
    match rule:
        case Rule.CHEAPEST_ABOVE:
            order = (0, cost, -quality) if enough else (1, -quality, cost)
            reason = "cheapest_above" if enough else "below_floor"
        case Rule.BEST_UNDER_PRICE:
            order, reason = (-quality, cost), "best_under_price"
        case Rule.FASTEST:
            # An unknown latency is tried once all known ones are slow: it counts as a second.
            order = (0, model.latency_s or 1.0, cost) if enough else (1, -quality, cost)
            reason = "fastest" if enough else "below_floor"
    if not _healthy(model):
        reason += ",unhealthy"
    return order, Ranked(model, round(quality, 4), cost, reason)


def draw(weights: Mapping[str, float], chance: Callable[[], float]) -> str:
    """A model's name by its share; '' for the part that no share covers."""
    at = chance() * max(sum(weights.values()), 1.0)
    for name, share in weights.items():
        at -= share
        if at < 0:
            return name
    return ""
