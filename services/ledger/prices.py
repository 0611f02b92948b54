"""What a call costs. Exact decimal, rounded up once a request, in whole nano-dollars."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

import genai_prices

from services.runtime.errors import Failure, Kind

NANO = Decimal(1_000_000_000)
MILLION = Decimal(1_000_000)
DATED = re.compile(r"(.+)@(\d{4}-\d\d-\d\d)")
FREE = frozenset({"local"})
"""Providers whose calls cost nothing unless a price is set."""


class PriceUnknown(Failure):
    kind, reason = Kind.PRECONDITION, "PRICE_UNKNOWN"
    text = "no price is known for {model} ({provider}:{provider_model}); set one under ledger.prices"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, as text so that it stays exact."""

    input: str
    output: str
    cached_input: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one call; `cached` are among `input`, `reasoning` among `output`."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


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
        if (own := self._own(model, at)) is not None:
            cached = Decimal(own.cached_input or own.input)
            plain = tokens.input - min(tokens.cached, tokens.input)
            dollars = (
                plain * Decimal(own.input) + (tokens.input - plain) * cached + tokens.output * Decimal(own.output)
            ) / MILLION
            return _nano(dollars)
        if provider in FREE:
            return 0
        rates = _rates(provider, provider_model, at.strftime("%Y-%m-%d"))
        if rates is None:
            raise PriceUnknown(model=model, provider=provider, provider_model=provider_model)
        plain = tokens.input - min(tokens.cached, tokens.input)
        return _nano(plain * rates[0] + (tokens.input - plain) * rates[1] + tokens.output * rates[2])

    def _own(self, model: str, at: datetime) -> Price | None:
        if (prices := self._dated.get(model)) is None:
            return None
        day = at.date()
        return next((price for since, price in prices if since <= day), None)

    def known(self, model: str, provider: str, provider_model: str, at: datetime) -> bool:
        return (
            self._own(model, at) is not None
            or provider in FREE
            or _rates(provider, provider_model, at.strftime("%Y-%m-%d")) is not None
        )


def _nano(dollars: Decimal) -> int:
    return int((dollars * NANO).to_integral_value(rounding=ROUND_CEILING))


@lru_cache(maxsize=4096)
def _rates(provider: str, provider_model: str, day: str) -> tuple[Decimal, Decimal, Decimal] | None:
    """Dollars a token on `day`: input, cached input, output. None when the model is unknown.

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
    return plain.input_price / MILLION, kept.input_price / MILLION, plain.output_price / MILLION
