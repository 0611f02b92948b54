"""How a tenant's requests are ranked, as data. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

from msgspec import Struct

from services.router.when import When


class Rule(Enum):
    CHEAPEST_ABOVE = "cheapest_above"
    BEST_UNDER_PRICE = "best_under_price"
    FASTEST = "fastest"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Only:
    """What a class of data is kept to; empty for no limit."""

    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CascadePolicy:
    """Try a cheaper model first, judge its answer, and go on only when it will not do."""

    enough: float = 0.5
    """Chance of being right from which an answer that passes the checks is kept."""
    samples: int = 1
    """Answers asked of the cheap model; from two on they must agree."""
    cheaper: float = 0.5
    """The cheap model must cost no more than this share of what the rule would have chosen."""


@dataclass(frozen=True, slots=True)
class Route:
    """What holds for the requests that `when` describes: what is said here, in place of what the policy around it says."""

    name: str
    when: When = field(default_factory=When)
    rule: str = ""
    model: str = ""
    quality_floor: float | None = None
    price_ceiling_usd: float | None = None
    latency_ceiling_s: float | None = None
    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    """Beside the policy's own: both hold."""
    weights: Mapping[str, float] = field(default_factory=dict)
    cascade: CascadePolicy | None = None
    system: str = ""
    """Instructions that go before the conversation."""
    reasoning_effort: str = ""
    """Where the request does not say: `none`, `minimal`, `low`, `medium`, `high` or `xhigh`."""
    template_options: Mapping[str, bool] = field(default_factory=dict)
    """What the model's chat template is told where the request does not say, such as `enable_thinking`."""
    store: bool = True
    """Whether answers are kept in the cache."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's: an entry of section `policies` in the router's settings."""

    rule: str = "cheapest_above"
    """`cheapest_above`, `best_under_price`, `fastest` or `fixed`."""
    model: str = ""
    """Which, where the rule is `fixed`: the others follow as fallbacks. Without it `models` go in their order."""
    quality_floor: float = 0.95
    """How much of the best candidate's predicted quality is enough."""
    price_ceiling_usd: float = 0.0
    """The most that one answer may be predicted to cost; 0 for none."""
    latency_ceiling_s: float = 0.0
    """Models that usually take longer to begin come last; 0 for none."""
    models: tuple[str, ...] = ()
    """The only models that `auto` may choose; empty for all."""
    regions: tuple[str, ...] = ()
    """The only regions; a model that names none is left out. Empty for all."""
    data_classes: Mapping[str, Only] = field(default_factory=dict)
    """By the guard's word for what a prompt holds."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Shares of traffic by model, for a split or a canary: the drawn one stands first where it can answer."""
    sticky: bool = False
    """Turns of one conversation stay with the model of the first, and are drawn alike."""
    low_budget_floor: float = 0.8
    """The quality floor while a budget above the caller is nearly used up; then the cheapest goes first."""
    cascade: CascadePolicy | None = None
    routes: tuple[Route, ...] = ()
    """The first whose conditions hold is taken."""
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Who answers when a model that was asked for by name cannot, in their order; `*` for models without their own."""


class Terms(Struct, frozen=True):
    """What holds for one request."""

    rule: Rule = Rule.CHEAPEST_ABOVE
    floor: float = 0.95
    ceiling: int = 0
    """Nano-dollars; 0 for none."""
    latency_s: float = 0.0
    first: str = ""
    """Stands first where it can answer and is well: drawn, fixed, or the conversation's own."""
    only: tuple[Only, ...] = ()
    row: tuple[str, ...] = ()
    """Those that stand in this order whatever the rule says."""


def draw(weights: Mapping[str, float], at: float) -> str:
    """A model's name by its share of 0 to 1; '' for the part that no share covers."""
    at *= max(sum(weights.values()), 1.0)
    for name, share in weights.items():
        at -= share
        if at < 0:
            return name
    return ""


def place(conversation: str) -> float:
    """Where a conversation falls, 0 to 1: the same for all its turns, on every replica."""
    return int.from_bytes(blake2b(conversation.encode(), digest_size=7).digest()) / (1 << 56)
