"""What reservations and settlements cost, by the book of prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tollway.ledger.v1 import ledger_pb2 as pb

from services.ledger.holds import Attempt, Hold
from services.ledger.prices import PriceBook, Sheet, Tokens
from services.runtime import telemetry

TOKENS, TIER, SEARCHES = "tollway.tokens", "tollway.tier", "tollway.searches"


@dataclass(frozen=True, slots=True)
class Pricing:
    prices: PriceBook
    strongest: Attempt | None = None
    """What every answer's cost is compared with."""

    def listed(self, one: pb.PricedModel, at: datetime) -> pb.ModelPrice:
        sheet = self.prices.sheet(one.model, one.provider, one.provider_model, at)
        if sheet is None:
            return pb.ModelPrice(model=one.model)
        million = 1_000_000
        read = Tokens(million, 0, audio_input=million, image_input=million, calls=0)
        written = Tokens(0, million, audio_output=million, image_output=million, calls=0)
        return pb.ModelPrice(
            model=one.model,
            input_nano_usd_per_million=sheet.usual.cost(Tokens(million, 0, calls=0)),
            output_nano_usd_per_million=sheet.usual.cost(Tokens(0, million, calls=0)),
            nano_usd_per_hour=sheet.usual.cost(Tokens(0, 0, compute_ms=3_600_000, calls=0)),
            nano_usd_per_call=sheet.usual.cost(Tokens(0, 0)),
            nano_usd_per_web_search=sheet.usual.cost(Tokens(0, 0, calls=0, web_searches=1)),
            known=True,
            most_input_nano_usd_per_million=sheet.dearest(read),
            most_output_nano_usd_per_million=sheet.dearest(written),
        )

    def held(self, attempt: pb.Attempt, at: datetime, *, needed: bool) -> tuple[int, int]:
        """What it may cost at most, and its tokens; without a price 0, unless money is counted.

        Raises:
            PriceUnknown: money is counted.
        """
        tokens = Tokens(
            attempt.input_tokens,
            attempt.output_tokens,
            compute_ms=attempt.compute.ToMilliseconds(),
            calls=attempt.calls or 1,
            web_searches=attempt.web_searches,
            **_kinds(attempt),
        )
        sheet = self._sheet(attempt.model, attempt.provider, attempt.provider_model, at, needed=needed)
        return sheet.most(tokens, attempt.service_tier) if sheet else 0, tokens.input + tokens.output

    def settled(self, hold: Hold, request: pb.SettleRequest, tokens: Tokens, at: datetime) -> int:
        model = request.model
        if not model or not (tokens.input or tokens.output or tokens.compute_ms):
            return 0
        attempt = next((one for one in hold.attempts if one.model == model), None)
        if attempt is None:  # priced by name alone: a model outside the reservation is a fact, too
            attempt = Attempt(model, "", model)
        sheet = self._sheet(model, attempt.provider, attempt.provider_model, at, needed=False)
        return sheet.cost(tokens, request.service_tier) if sheet else 0

    def baseline(self, request: pb.SettleRequest, at: datetime) -> int:
        """What the strongest model would have cost, where there is one with a price."""
        one = self.strongest
        if one is None or (sheet := self.prices.sheet(one.model, one.provider, one.provider_model, at)) is None:
            return 0
        read = request.input_tokens + request.spared_input_tokens
        written = request.output_tokens + request.spared_output_tokens
        return sheet.cost(Tokens(read, written))

    def _sheet(self, model: str, provider: str, provider_model: str, at: datetime, *, needed: bool) -> Sheet | None:
        if needed:
            return self.prices.needed(model, provider, provider_model, at)
        if (sheet := self.prices.sheet(model, provider, provider_model, at)) is None:
            telemetry.event("price unknown", model=model)
        return sheet


def tokens_of(request: pb.SettleRequest) -> Tokens:
    return Tokens(
        request.input_tokens,
        request.output_tokens,
        request.cached_input_tokens,
        request.reasoning_tokens,
        request.compute.ToMilliseconds(),
        calls=request.calls or 1,
        web_searches=request.web_searches,
        **_kinds(request),
    )


def labels(request: pb.SettleRequest) -> Mapping[str, str]:
    """The caller's, and beside them what the cost rests on: the tokens that are billed apart, and the tier."""
    told = {name: number for name, number in _kinds(request).items() if number}
    ours = {TOKENS: ",".join(f"{name}={number}" for name, number in told.items())} if told else {}
    if request.service_tier:
        ours[TIER] = plain(request.service_tier)
    if request.web_searches:
        ours[SEARCHES] = str(request.web_searches)
    said = {plain(name): plain(value) for name, value in request.tags.items()}
    return {**said, **ours} if ours else said


def plain(text: str) -> str:
    """Without the one character that PostgreSQL has no room for."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _kinds(one: pb.Attempt | pb.SettleRequest) -> Mapping[str, int]:
    if not one.HasField("kinds"):  # most are plain text
        return {}
    said = one.kinds
    return {
        "cache_write": said.cache_write_tokens,
        "audio_input": said.audio_input_tokens,
        "image_input": said.image_input_tokens,
        "audio_output": said.audio_output_tokens,
        "image_output": said.image_output_tokens,
    }
