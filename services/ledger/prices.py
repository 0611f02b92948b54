"""What a call costs. Exact decimal, rounded up once a request, in whole nano-dollars."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

import genai_prices
from msgspec import Struct

from services.runtime.errors import Failure, Kind

MILLION = Decimal(1_000_000)
HOUR_S, HOUR_MS = Decimal(3600), Decimal(3_600_000)
FINE = 10**12
"""Rates are whole numbers of so many parts of a nano-dollar."""
DATED = re.compile(r"(.+)@(\d{4}-\d\d-\d\d)")
FREE = frozenset({"local", "tools"})
"""Providers whose calls cost nothing unless a price is set."""
COUNTED = ("_mtok", "_mchars", "input_audio_hours", "requests_kcount")
"""Units of genai-prices that count here: a token of sound stands for a character that is spoken, or a second that is heard, of models listed
by those."""
OPEN = frozenset({"", "auto"})
"""Words for a tier of service that leave it to the provider."""


class PriceUnknown(Failure):
    kind, reason = Kind.PRECONDITION, "PRICE_UNKNOWN"
    text = "no price is known for {model} ({provider}:{provider_model}); set one under ledger.prices"


WEB_SEARCH = Decimal("0.01")
"""US dollars for a search, by the price lists of OpenAI and Anthropic."""
WEB_SEARCHES = {"google": Decimal("0.035"), "vertex": Decimal("0.035"), "azure": Decimal("0.014")}
"""Of others, at the most that any of their models takes."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars, as text so that they stay exact: for a million tokens, for a call, for a search of the web, and for an hour that calls
    run, which is how a machine of one's own is paid for. Divide its hour by the calls that it takes at once.

    A kind of tokens without a price of its own costs what others of its direction cost.
    """

    input: str = "0"
    output: str = "0"
    cached_input: str = ""
    hour: str = ""
    cache_write: str = ""
    audio_input: str = ""
    image_input: str = ""
    audio_output: str = ""
    image_output: str = ""
    reasoning: str = ""
    call: str = ""
    web_search: str = ""
    """Left out, what OpenAI and Anthropic take for one."""
    tiers: Mapping[str, "Price"] = field(default_factory=dict)
    """By the provider's other tiers of service: `flex`, `batch`, `priority`."""


class Tokens(Struct, frozen=True):
    """Tokens of one request; `cached`, `cache_write`, `audio_input` and `image_input` are among `input`, the others among `output`. Its
    `calls` ran for `compute_ms`, and made `web_searches`.
    """

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0
    compute_ms: int = 0
    cache_write: int = 0
    audio_input: int = 0
    image_input: int = 0
    audio_output: int = 0
    image_output: int = 0
    calls: int = 1
    web_searches: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """For one token, for one millisecond, for one call and for one search, in parts of a nano-dollar."""

    input: int
    cached_input: int
    output: int
    compute_ms: int = 0
    cache_write: int = 0
    audio_input: int = 0
    image_input: int = 0
    audio_output: int = 0
    image_output: int = 0
    reasoning: int = 0
    call: int = 0
    web_search: int = 0

    def cost(self, tokens: Tokens) -> int:
        """In nano-dollars, rounded up once.

        What is of two kinds at once, such as sound out of the provider's cache, counts as the one that is named first here.
        """
        read = _shared(
            tokens.input,
            self.input,
            (self.audio_input, tokens.audio_input),
            (self.image_input, tokens.image_input),
            (self.cache_write, tokens.cache_write),
            (self.cached_input, tokens.cached),
        )
        written = _shared(
            tokens.output,
            self.output,
            (self.audio_output, tokens.audio_output),
            (self.image_output, tokens.image_output),
            (self.reasoning, tokens.reasoning),
        )
        return -(-(read + written + self._beside(tokens)) // FINE)

    def most(self, tokens: Tokens) -> int:
        """What a call costs at most that `tokens` bounds, kind by kind: any of it may be put into the provider's cache or be
        reasoning, and a provider need not say what was sound or a picture.
        """
        read = _dearest(
            tokens.input,
            max(self.input, self.cached_input, self.cache_write),
            (self.audio_input, tokens.audio_input),
            (self.image_input, tokens.image_input),
        )
        written = _dearest(
            tokens.output,
            max(self.output, self.reasoning),
            (self.audio_output, tokens.audio_output),
            (self.image_output, tokens.image_output),
        )
        return -(-(read + written + self._beside(tokens)) // FINE)

    def _beside(self, tokens: Tokens) -> int:
        """What is not paid for tokens."""
        return tokens.compute_ms * self.compute_ms + tokens.calls * self.call + tokens.web_searches * self.web_search


def _dearest(total: int, plain: int, *kinds: tuple[int, int]) -> int:
    """The most that `total` tokens can come to, when at most so many may be of each kind, at a rate of its own."""
    return _shared(
        total, plain, *sorted([(rate, bound) for rate, bound in kinds if bound and rate > plain], reverse=True)
    )


def _shared(total: int, plain: int, *kinds: tuple[int, int]) -> int:
    """What `total` tokens come to: so many of each kind at its rate, in their order and as far as they reach, the rest at `plain`."""
    parts = 0
    for rate, number in kinds:
        if number:
            parts += rate * (taken := min(number, total))
            total -= taken
    return parts + total * plain


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one model costs on one day."""

    steps: Sequence[tuple[int, Rates]]
    """What all tokens cost once more than so many are read; the first step begins at none."""
    tiers: Mapping[str, Rates] = field(default_factory=dict)

    @property
    def usual(self) -> Rates:
        """Of a short prompt."""
        return self.steps[0][1]

    def cost(self, tokens: Tokens, tier: str = "") -> int:
        """In nano-dollars. A tier without a price is at the usual one."""
        rates = self.tiers.get(tier)
        if rates is None:
            rates = next((one for above, one in reversed(self.steps) if tokens.input > above), self.usual)
        return rates.cost(tokens)

    def most(self, tokens: Tokens, tier: str = "") -> int:
        """The most that a call bounded by `tokens` can cost, which asks for `tier`; the provider may answer in the usual one, and
        chooses where none is asked for.
        """
        return max([one.most(tokens) for one in self._possible(tokens.input, tier)])

    def dearest(self, bound: Tokens) -> int:
        """The most that a call within `bound` can cost, in any tier and however much it reads."""
        every = (*(one for _, one in self.steps), *self.tiers.values())
        return max(rates.most(bound) for rates in every)

    def _possible(self, read: int, tier: str) -> list[Rates]:
        usual = [one for above, one in self.steps if above == 0 or read > above]
        if tier in OPEN:
            return [*usual, *self.tiers.values()]
        return [*usual, self.tiers[tier]] if tier in self.tiers else usual


NOTHING = Sheet(((0, Rates(0, 0, 0)),))


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Own prices by the model's name in the mesh, over those of genai-prices.

    `NAME@2026-12-01` is the price of NAME from that day on, in UTC. What was settled before stays as it was.

    Raises:
        ValueError: what stands behind the @ is no day of the calendar.
    """

    own: Mapping[str, Price]
    _dated: Mapping[str, Sequence[tuple[date, Sheet]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found: dict[str, list[tuple[date, Sheet]]] = {}
        for name, price in self.own.items():
            dated = DATED.fullmatch(name)  # other models have an @ in their names
            model, since = (dated[1], date.fromisoformat(dated[2])) if dated else (name, date.min)
            found.setdefault(model, []).append((since, _own(price)))
        for prices in found.values():
            prices.sort(key=lambda one: one[0], reverse=True)
        object.__setattr__(self, "_dated", found)

    def cost(self, model: str, provider: str, provider_model: str, tokens: Tokens, at: datetime) -> int:
        """Nano-dollars for `tokens` at the prices of `at`.

        Raises:
            PriceUnknown: neither book knows the model.
        """
        return self.needed(model, provider, provider_model, at).cost(tokens)

    def needed(self, model: str, provider: str, provider_model: str, at: datetime) -> Sheet:
        """The prices of `at`.

        Raises:
            PriceUnknown: neither book knows the model.
        """
        if (sheet := self.sheet(model, provider, provider_model, at)) is None:
            raise PriceUnknown(model=model, provider=provider, provider_model=provider_model)
        return sheet

    def sheet(self, model: str, provider: str, provider_model: str, at: datetime) -> Sheet | None:
        """The prices of `at`; None when neither book knows the model."""
        if (prices := self._dated.get(model)) is not None:
            day = at.date()
            for since, sheet in prices:
                if since <= day:
                    return sheet
        if provider in FREE:
            return NOTHING
        return _listed(provider, provider_model, at.strftime("%Y-%m-%d"))

    def known(self, model: str, provider: str, provider_model: str, at: datetime) -> bool:
        return self.sheet(model, provider, provider_model, at) is not None


def _own(price: Price) -> Sheet:
    return Sheet(((0, _rates(price)),), {name: _rates(one) for name, one in price.tiers.items()})


def _rates(price: Price) -> Rates:
    def told(*words: str) -> int:
        return _fine(Decimal(next((word for word in words if word), "0")) / MILLION)

    return Rates(
        input=told(price.input),
        cached_input=told(price.cached_input, price.input),
        output=told(price.output),
        compute_ms=_fine(Decimal(price.hour or 0) / HOUR_MS),
        cache_write=told(price.cache_write, price.input),
        audio_input=told(price.audio_input, price.input),
        image_input=told(price.image_input, price.input),
        audio_output=told(price.audio_output, price.output),
        image_output=told(price.image_output, price.output),
        reasoning=told(price.reasoning, price.output),
        call=_fine(Decimal(price.call or 0)),
        web_search=_fine(Decimal(price.web_search or WEB_SEARCH)),
    )


def _fine(dollars: Decimal) -> int:
    """Rounded up, where a price has more digits than that."""
    return int((dollars * 1_000_000_000 * FINE).to_integral_value(rounding=ROUND_CEILING))


@lru_cache(maxsize=4096)
def _listed(provider: str, provider_model: str, day: str) -> Sheet | None:
    """What genai-prices has for `day`. None when the model is unknown."""
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1, output_tokens=1),
            provider_model,
            provider_id=provider or None,
            genai_request_timestamp=at,
        )
    except (LookupError, ValueError):
        return None
    price = found.model_price
    if (told := vars(price)) and not any(name.endswith(COUNTED) for name in told):
        return None  # by the page, by the hour of a call: nothing here counts these
    stepped = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    starts = {tier.start for one in stepped for tier in getattr(one, "tiers", ())}
    search = _fine(WEB_SEARCHES.get(provider, WEB_SEARCH))
    return Sheet([(start, _at(price, start, search)) for start in (0, *sorted(starts))])


def _at(price: Any, above: int, search: int) -> Rates:
    """The rates of prompts of more than `above` tokens; `search` is the rate of a search, which genai-prices does not list."""

    def told(*names: str) -> int:
        for name in names:
            if (one := getattr(price, name)) is not None:
                tiers = [tier.price for tier in getattr(one, "tiers", ()) if tier.start <= above] if above else []
                return _fine((tiers[-1] if tiers else getattr(one, "base", one)) / MILLION)
        return 0

    heard = _fine(Decimal(price.input_audio_hours or 0) / HOUR_S)
    return Rates(
        input=told("input_mtok"),
        cached_input=told("cache_read_mtok", "input_mtok"),
        output=told("output_mtok"),
        cache_write=told("cache_write_mtok", "input_mtok"),
        audio_input=told("input_audio_mtok", "input_mtok") or heard,
        image_input=told("input_image_mtok", "input_mtok"),
        audio_output=told("output_audio_mtok", "output_mtok", "input_mchars"),
        image_output=told("output_image_mtok", "output_mtok"),
        reasoning=told("output_reasoning_mtok", "output_mtok"),
        call=_fine(Decimal(price.requests_kcount or 0) / 1000),
        web_search=search,
    )
