"""What a call costs. Exact decimal, rounded up once a request, in whole nano-dollars."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

import genai_prices

from services.runtime.errors import Failure, Kind

MILLION = Decimal(1_000_000)
HOUR_MS = Decimal(3_600_000)
FINE = 10**12
"""Rates are whole numbers of so many parts of a nano-dollar."""
DATED = re.compile(r"(.+)@(\d{4}-\d\d-\d\d)")
FREE = frozenset({"local"})
"""Providers whose calls cost nothing unless a price is set."""


class PriceUnknown(Failure):
    kind, reason = Kind.PRECONDITION, "PRICE_UNKNOWN"
    text = "no price is known for {model} ({provider}:{provider_model}); set one under ledger.prices"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars, as text so that they stay exact: for a million tokens, and for an hour that calls run, which is how a machine of
    one's own is paid for. Divide its hour by the calls that it takes at once."""

    input: str = "0"
    output: str = "0"
    cached_input: str = ""
    hour: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one call; `cached` are among `input`, `reasoning` among `output`. It ran for `compute_ms`."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0
    compute_ms: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """For one token, and for one millisecond, in parts of a nano-dollar."""

    input: int
    cached_input: int
    output: int
    compute_ms: int = 0

    def cost(self, tokens: Tokens) -> int:
        """In nano-dollars, rounded up once."""
        cached = min(tokens.cached, tokens.input)
        parts = (tokens.input - cached) * self.input + cached * self.cached_input + tokens.output * self.output
        return -(-(parts + tokens.compute_ms * self.compute_ms) // FINE)


NOTHING = Rates(0, 0, 0)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Own prices by the model's name in the mesh, over those of genai-prices.

    `NAME@2026-12-01` is the price of NAME from that day on, in UTC. What was settled before stays as it was.

    Raises:
        ValueError: what stands behind the @ is no day of the calendar.
    """

    own: Mapping[str, Price]
    _dated: Mapping[str, Sequence[tuple[date, Price]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found: dict[str, list[tuple[date, Price]]] = {}
        for name, price in self.own.items():
            dated = DATED.fullmatch(name)  # other models have an @ in their names
            model, since = (dated[1], date.fromisoformat(dated[2])) if dated else (name, date.min)
            found.setdefault(model, []).append((since, price))
        for prices in found.values():
            prices.sort(key=lambda one: one[0], reverse=True)
        object.__setattr__(self, "_dated", found)

    def cost(self, model: str, provider: str, provider_model: str, tokens: Tokens, at: datetime) -> int:
        """Nano-dollars for `tokens` at the prices of `at`.

        Raises:
            PriceUnknown: neither book knows the model.
        """
        if (rates := self.rates(model, provider, provider_model, at)) is None:
            raise PriceUnknown(model=model, provider=provider, provider_model=provider_model)
        return rates.cost(tokens)

    def rates(self, model: str, provider: str, provider_model: str, at: datetime) -> Rates | None:
        """The prices of `at`; None when neither book knows the model."""
        if (prices := self._dated.get(model)) is not None:
            day = at.date()
            own = next((price for since, price in prices if since <= day), None)
            if own is not None:
                return _own(own)
        if provider in FREE:
            return NOTHING
        return _listed(provider, provider_model, at.strftime("%Y-%m-%d"))

    def known(self, model: str, provider: str, provider_model: str, at: datetime) -> bool:
        return self.rates(model, provider, provider_model, at) is not None


@lru_cache(maxsize=4096)
def _own(price: Price) -> Rates:
    plain, cached, written = (
        _fine(Decimal(one) / MILLION) for one in (price.input, price.cached_input or price.input, price.output)
    )
    return Rates(plain, cached, written, _fine(Decimal(price.hour or 0) / HOUR_MS))


def _fine(dollars: Decimal) -> int:
    """Rounded up, where a price has more digits than that."""
    return int((dollars * 1_000_000_000 * FINE).to_integral_value(rounding=ROUND_CEILING))


@lru_cache(maxsize=4096)
def _listed(provider: str, provider_model: str, day: str) -> Rates | None:
    """What genai-prices has for `day`. None when the model is unknown.

    Tiers are priced at their dearest, so that a hold is never too small.
    """
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    whole = genai_prices.Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    cached = genai_prices.Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000)
    try:
        plain = genai_prices.calc_price(whole, provider_model, provider_id=provider or None, genai_request_timestamp=at)
        kept = genai_prices.calc_price(cached, provider_model, provider_id=provider or None, genai_request_timestamp=at)
    except (LookupError, ValueError):
        return None
    return Rates(*(_fine(one / MILLION) for one in (plain.input_price, kept.input_price, plain.output_price)))
