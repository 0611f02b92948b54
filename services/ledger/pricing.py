"""What reservations and settlements cost, by the book of prices."""

from dataclasses import dataclass
from datetime import datetime

from tollway.ledger.v1 import ledger_pb2 as pb

from services.ledger.holds import Attempt, Hold
from services.ledger.prices import PriceBook, PriceUnknown, Tokens
from services.runtime import telemetry


@dataclass(frozen=True, slots=True)
class Pricing:
    prices: PriceBook
    strongest: Attempt | None = None
    """What every answer's cost is compared with."""

    def listed(self, one: pb.PricedModel, at: datetime) -> pb.ModelPrice:
        names = (one.model, one.provider, one.provider_model)
        if not self.prices.known(*names, at):
            return pb.ModelPrice(model=one.model)
        return pb.ModelPrice(
            model=one.model,
            input_nano_usd_per_million=self.prices.cost(*names, Tokens(1_000_000, 0), at),
            output_nano_usd_per_million=self.prices.cost(*names, Tokens(0, 1_000_000), at),
            nano_usd_per_hour=self.prices.cost(*names, Tokens(0, 0, compute_ms=3_600_000), at),
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
        if one is None or not self.prices.known(one.model, one.provider, one.provider_model, at):
            return 0
        read = request.input_tokens + request.spared_input_tokens
        written = request.output_tokens + request.spared_output_tokens
        return self.prices.cost(one.model, one.provider, one.provider_model, Tokens(read, written), at)

    def priced(
        self, model: str, provider: str, provider_model: str, tokens: Tokens, at: datetime, *, needed: bool
    ) -> int:
        """The cost; of a model without a price 0, unless money is counted."""
        if (rates := self.prices.rates(model, provider, provider_model, at)) is not None:
            return rates.cost(tokens)
        if needed:
            raise PriceUnknown(model=model, provider=provider, provider_model=provider_model)
        telemetry.event("price unknown", model=model)
        return 0
