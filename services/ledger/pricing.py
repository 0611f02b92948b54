"""What reservations and settlements cost, by the book of prices."""

from dataclasses import dataclass
from datetime import datetime

from tollway.ledger.v1 import ledger_pb2 as pb

from services.ledger.holds import Attempt, Hold
from services.ledger.prices import PriceBook, Tokens
from services.runtime import telemetry


@dataclass(frozen=True, slots=True)
class Pricing:
    prices: PriceBook
    strongest: Attempt | None = None
    """What every answer's cost is compared with."""

    def listed(self, one: pb.PricedModel, at: datetime) -> pb.ModelPrice:
        rates = self.prices.rates(one.model, one.provider, one.provider_model, at)
        if rates is None:
            return pb.ModelPrice(model=one.model)
        return pb.ModelPrice(
            model=one.model,
            input_nano_usd_per_million=rates.cost(Tokens(1_000_000, 0)),
            output_nano_usd_per_million=rates.cost(Tokens(0, 1_000_000)),
            nano_usd_per_hour=rates.cost(Tokens(0, 0, compute_ms=3_600_000)),
            known=True,
        )

    def settled(self, hold: Hold, model: str, tokens: Tokens, at: datetime) -> int:
        if not model or not (tokens.input or tokens.output or tokens.compute_ms):
            return 0
        attempt = next((one for one in hold.attempts if one.model == model), None)
        if attempt is None:  # priced by name alone: a model outside the reservation is a fact, too
            attempt = Attempt(model, "", model)
        return self.priced(model, attempt.provider, attempt.provider_model, tokens, at, needed=False)

    def baseline(self, request: pb.SettleRequest, at: datetime) -> int:
        """What the strongest model would have cost, where there is one with a price."""
        one = self.strongest
        if one is None or (rates := self.prices.rates(one.model, one.provider, one.provider_model, at)) is None:
            return 0
        read = request.input_tokens + request.spared_input_tokens
        written = request.output_tokens + request.spared_output_tokens
        return rates.cost(Tokens(read, written))

    def priced(
        self, model: str, provider: str, provider_model: str, tokens: Tokens, at: datetime, *, needed: bool
    ) -> int:
        """The cost; of a model without a price 0, unless money is counted."""
        if needed:
            return self.prices.cost(model, provider, provider_model, tokens, at)
        if (rates := self.prices.rates(model, provider, provider_model, at)) is not None:
            return rates.cost(tokens)
        telemetry.event("price unknown", model=model)
        return 0
