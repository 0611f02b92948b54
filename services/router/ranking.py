"""Ranks models for one request. Pure: what is known comes in, an order with reasons goes out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from services.router.policy import Only, Rule, Terms
from services.router.predictor import UNKNOWN, Prediction
from services.runtime.errors import Failure, Kind

UNHEALTHY = 0.5
"""Share of failed calls from which a model stands behind all healthy ones."""
FULL = 0.95
"""Saturation from which a model stands behind those with room."""
MOST_NAMED = 8
"""Models that are named with a reason why none can answer, and reasons."""
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
    regions: tuple[str, ...] = ()
    saturation: float = 0.0
    """Calls under way as a share of what it bears, 0 to 1."""
    by_task: Mapping[str, float] = field(default_factory=dict)
    """How much more or less able it is at a kind of task."""
    call_price: int = 0
    """Nano-dollars for a call, beside its tokens."""
    web_search: bool = False


class Needs(Struct, frozen=True):
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    input_tokens: int = 0
    max_output_tokens: int = 0
    web_search: bool = False


class Ranked(Struct, frozen=True):
    model: Model
    quality: float
    cost: int
    reason: str


class Ranking(Struct, frozen=True):
    candidates: Sequence[Ranked]
    rejected: Sequence[tuple[str, str]]


def rank(models: Iterable[tuple[Model, float]], needs: Needs, terms: Terms, prediction: Prediction | None) -> Ranking:
    """Orders `models`, each with its ability for this tenant.

    `prediction` is None where the text is unknown, and abilities alone decide. The best candidate's quality sets the
    mark. Cheapest-above puts the cheapest that comes within the floor of it first; those below follow by quality, so
    that a fallback is the next best answer. A model that fails too often or whose breaker is open comes after every
    healthy one, and one that is too slow after those in time. Where nobody writes as much as a request lets it, those
    that write most do: it is a limit, and no wish.

    Raises:
        NoCandidate: none can do what is needed, and why not.
    """
    known, expected = list(models), prediction or UNKNOWN
    priced, rejected = _priced(known, needs, terms, expected)
    if not priced and (less := _most_written(known, needs)):
        priced, rejected = _priced(known, replace(needs, max_output_tokens=less), terms, expected)
    if not priced:
        raise NoCandidate(why=_told(rejected) or "the catalogue is empty")
    enough = max(quality for _, quality, _ in priced) - (1 - terms.floor)
    ranked = [_reasoned(one, terms, enough) for one in priced]
    ranked.sort(key=lambda pair: pair[0])
    return Ranking([one for _, one in ranked], rejected)


def _priced(
    models: Iterable[tuple[Model, float]], needs: Needs, terms: Terms, expected: Prediction
) -> tuple[list[tuple[Model, float, int]], list[tuple[str, str]]]:
    """Who can, with the quality and the cost to expect; and who cannot, and why."""
    priced, rejected = list[tuple[Model, float, int]](), list[tuple[str, str]]()
    for model, ability in models:
        why = unable(model, needs) or (kept_from(model, terms.only) if terms.only else "")
        if not why:
            cost = cost_of(model, needs)
            if not terms.ceiling or cost <= terms.ceiling:
                if model.by_task:
                    ability += model.by_task.get(expected.task, 0.0)
                priced.append((model, expected.chance(ability), cost))
                continue
            why = f"predicted to cost {cost} nano-dollars, above {terms.ceiling}"
        rejected.append((model.name, why))
    return priced, rejected


def _most_written(models: Iterable[tuple[Model, float]], needs: Needs) -> int:
    """The most that one writes who can do all else; 0 where that is not less than what is asked for."""
    else_ = replace(needs, max_output_tokens=0)
    most = max((model.max_output_tokens for model, _ in models if not unable(model, else_)), default=0)
    return most if most < needs.max_output_tokens else 0


def _told(rejected: Iterable[tuple[str, str]]) -> str:
    """Why each was left out. Of many with the same reason a few are named, and of many reasons the commonest: it goes out with a status."""
    names: dict[str, list[str]] = {}
    for name, why in rejected:
        names.setdefault(why, []).append(name)
    common = sorted(names.items(), key=lambda one: -len(one[1]))
    said = [
        f"{', '.join(some[:MOST_NAMED])}{_more(len(some) - MOST_NAMED)}: {why}" for why, some in common[:MOST_NAMED]
    ]
    return "; ".join(said) + _more(len(common) - MOST_NAMED, " reasons")


def _more(many: int, of: str = "") -> str:
    return f" and {many} more{of}" if many > 0 else ""


def unable(model: Model, needs: Needs) -> str:
    """Why `model` cannot serve; '' when it can."""
    if needs.tools and not model.tools:
        return "does not call tools"
    if needs.vision and not model.vision:
        return "does not see pictures"
    if needs.json_schema and not model.json_schema:
        return "does not hold to a JSON schema"
    if needs.web_search and not model.web_search:
        return "does not search the web"
    if needs.max_output_tokens > model.max_output_tokens:
        return f"writes at most {model.max_output_tokens} tokens"
    # The bound of the input is a byte a token, four times too much for most text: refuse what surely cannot fit.
    if needs.input_tokens // 8 + needs.max_output_tokens > model.context_tokens:
        return f"holds {model.context_tokens} tokens"
    return ""


def kept_from(model: Model, limits: Iterable[Only]) -> str:
    """Why `limits` keep the request from `model`; '' when they do not."""
    for only in limits:
        if only.models and model.name not in only.models:
            return "not among the models that policy allows for this data"
        if only.regions and not (model.regions and set(model.regions) <= set(only.regions)):
            return f"runs in {', '.join(model.regions) or 'no region that is known'}"
    return ""


def cost_of(model: Model, needs: Needs) -> int:
    """Predicted nano-dollars: a token for four bytes in, a usual answer out."""
    output = min(needs.max_output_tokens or USUAL_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS, model.max_output_tokens)
    tokens = needs.input_tokens // 4 * model.input_price + output * model.output_price
    return tokens // 1_000_000 + model.call_price


def healthy(model: Model) -> bool:
    return model.available and model.error_rate < UNHEALTHY and model.saturation < FULL


def _reasoned(one: tuple[Model, float, int], terms: Terms, enough: float) -> tuple[tuple[float, ...], Ranked]:
    """The key to sort by, and the candidate."""
    model, quality, cost = one
    order: tuple[float, ...]
    if quality < enough and terms.rule is not Rule.BEST_UNDER_PRICE:
        order, reason = (1, -quality, cost), "below_floor"
    elif terms.rule is Rule.FASTEST:
        # An unknown latency is tried once all known ones are slow: it counts as a second.
        order, reason = (0, model.latency_s or 1.0, cost), "fastest"
    elif terms.rule is Rule.BEST_UNDER_PRICE:
        order, reason = (0, -quality, cost), "best_under_price"
    else:
        order, reason = (0, cost, -quality), "cheapest_above"
    first = model.name == terms.first
    late = bool(terms.latency_s) and model.latency_s > terms.latency_s
    well = healthy(model)
    if first:
        reason = "chosen"
    if terms.row:
        order, reason = (terms.row.index(model.name),), "listed"
    if late:
        reason += ",slow"
    if not well:
        reason += ",unhealthy"
    return (not well, not first, late, *order), Ranked(model, quality, cost, reason)
