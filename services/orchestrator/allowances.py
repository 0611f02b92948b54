"""What a project is granted while the ledger is away: parts of its budgets that the ledger has set aside beforehand."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.duration_pb2 import Duration
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from services.orchestrator.desk import Desk
from services.orchestrator.facts import Models
from services.orchestrator.terms import Terms

log = logging.getLogger(__name__)

NANO = 1_000_000_000
MILLION, HOUR_MS = 1_000_000, 3_600_000
MOST_MODELS, MOST_HELD = 256, 10_000
WITHIN_S = 5.0
RENEWED_AT = 0.25
"""Part of its time after which an allowance is filled up and lasts anew."""
AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Amount:
    nano_usd: int = 0
    tokens: int = 0
    requests: int = 0

    def plus(self, other: "Amount", sign: int = 1) -> "Amount":
        return Amount(
            self.nano_usd + sign * other.nano_usd,
            self.tokens + sign * other.tokens,
            self.requests + sign * other.requests,
        )

    def within(self, most: "Amount") -> bool:
        return self.nano_usd <= most.nano_usd and self.tokens <= most.tokens and self.requests <= most.requests


@dataclass(slots=True)
class Allowance:
    """One account's. `gone` is what was granted since it was filled up last, and before that and not settled yet."""

    id: str
    most: Amount = Amount()
    concurrent: int = 0
    sealed: bytes = b""
    until: float = 0.0
    """It is granted from, in seconds since the epoch; and settled from for as long as it lasts beyond that."""
    lasting_s: float = 0.0
    prices: Mapping[str, pb.ModelPrice] = field(default_factory=dict)
    counts_money: bool = True
    gone: Amount = Amount()
    open: Amount = Amount()
    """Of what is gone, what the ledger has not heard of."""
    under_way: int = 0
    asked: float = 0.0
    """When it was last asked for, on the monotonic clock."""
    asking: bool = False
    meanwhile: Amount = Amount()
    """What was settled since it was asked for: perhaps after the ledger had filled it up, and so out of what that gave."""

    def filled(self, made: pb.CarveAllowanceResponse, lasting_s: float) -> None:
        self.lasting_s = lasting_s
        self.most = Amount(made.nano_usd, made.tokens, made.requests)
        self.concurrent, self.sealed, self.until = made.concurrent, made.allowance, float(made.expires.seconds)
        self.prices, self.counts_money = {one.model: one for one in made.prices}, made.counts_money
        self.gone = self.open.plus(self.meanwhile)

    def begins_asking(self, now: float) -> None:
        self.asked, self.asking, self.meanwhile = now, True, Amount()

    def cost(
        self, model: str, tokens_in: int, tokens_out: int, compute_ms: int = 0, calls: int = 1, web_searches: int = 0
    ) -> int | None:
        """The most in nano-dollars, rounded up; None where a budget counts money and the model has no price."""
        price = self.prices.get(model)
        if price is None or not price.known:
            return None if self.counts_money else 0
        # A ledger of the release before tells no more than the usual price.
        read = max(price.most_input_nano_usd_per_million, price.input_nano_usd_per_million)
        written = max(price.most_output_nano_usd_per_million, price.output_nano_usd_per_million)
        tokens = -(-(tokens_in * read + tokens_out * written) // MILLION)
        ran = -(-(compute_ms * price.nano_usd_per_hour) // HOUR_MS)
        return tokens + ran + calls * price.nano_usd_per_call + web_searches * price.nano_usd_per_web_search

    def moved(self, amount: Amount, sign: int) -> None:
        self.gone, self.open = self.gone.plus(amount, sign), self.open.plus(amount, sign)


@dataclass(slots=True)
class Draw:
    """What one request was granted."""

    allowance: Allowance
    amount: Amount
    sealed: bytes
    taken_until: float
    """Up to when the ledger takes its settlement from the allowance, in seconds since the epoch."""
    ended: bool = False
    settled: bool = False

    @property
    def settles_for_s(self) -> float:
        """How long its settlement is tried."""
        return max(self.taken_until - time.time(), WITHIN_S)

    def released(self) -> None:
        """It came to nothing."""
        self._ends(Amount())

    def used(self, model: str, tokens_in: int, tokens_out: int, *more: int) -> None:
        """It was answered; by the cache where there is no model. `more` is what `cost` takes. What it did not use is there for others."""
        if not model:
            self._ends(Amount(requests=1))
            return
        cost = self.allowance.cost(model, tokens_in, tokens_out, *more)
        self._ends(Amount(cost or 0, tokens_in + tokens_out, 1))

    def _ends(self, left: Amount) -> None:
        if self.ended:
            return
        self.ended = True
        self.allowance.under_way -= 1
        self.allowance.moved(self.amount, -1)
        self.allowance.moved(left, 1)
        self.amount = left

    def booked(self) -> None:
        """The ledger has settled it: it stays gone until the allowance is filled up."""
        if not self.settled:
            self.settled = True
            self.allowance.open = self.allowance.open.plus(self.amount, -1)
            self.allowance.meanwhile = self.allowance.meanwhile.plus(self.amount)


@dataclass(slots=True)
class Allowances:
    stub: ledger_pb2_grpc.LedgerServiceStub
    models: Models
    desk: Desk
    terms: Callable[[str], Terms | None]
    """Of an account; None where it is refused while the ledger is away."""
    _held: dict[str, Allowance] = field(default_factory=dict)

    def keep(self, account: str) -> None:
        """The ledger has just answered for `account`: its allowance is asked for beside the request, where it is due."""
        if (terms := self.terms(account)) is None or not self.desk.key:
            return
        held = self._held.get(account)
        if held is None:
            self._forget()
            held = self._held[account] = Allowance(str(uuid.uuid4()))
        now = time.monotonic()
        low = not held.gone.plus(held.gone).within(held.most)
        wait = terms.lasting_s * RENEWED_AT
        if low or not held.sealed:
            wait = min(wait, AGAIN_S)
        if held.asking or (held.asked and now - held.asked < wait):
            return
        held.begins_asking(now)
        self.desk.later(lambda: self._filled(account, held, terms), tries_s=0.0)

    def draw(self, account: str, attempts: Sequence[pb.Attempt], ceiling: int = 0) -> Draw | None:
        """Grants the dearest of `attempts` (none: an answer from the cache); None where the allowance does not cover it, or the
        request's own `ceiling` in nano-dollars forbids it."""
        held = self._held.get(account)
        if held is None or time.time() >= held.until or held.under_way >= held.concurrent:
            return None
        costs = [
            held.cost(
                one.model,
                one.input_tokens,
                one.output_tokens,
                one.compute.ToMilliseconds(),
                one.calls or 1,
                one.web_searches,
            )
            for one in attempts
        ]
        known = [one for one in costs if one is not None]
        if len(known) < len(costs):
            return None
        tokens = max((one.input_tokens + one.output_tokens for one in attempts), default=0)
        amount = Amount(max(known, default=0), tokens, 1)
        if (ceiling and amount.nano_usd > ceiling) or not held.gone.plus(amount).within(held.most):
            return None
        held.moved(amount, 1)
        held.under_way += 1
        return Draw(held, amount, held.sealed, held.until + held.lasting_s)

    def _forget(self) -> None:
        """Drops what is over and owes nothing, once there are many."""
        if len(self._held) >= MOST_HELD:
            now = time.time()
            over = [name for name, one in self._held.items() if one.until < now and one.open == Amount()]
            for name in over:
                del self._held[name]

    async def _filled(self, account: str, held: Allowance, terms: Terms) -> None:
        request = pb.CarveAllowanceRequest(
            allowance_id=held.id,
            account=account,
            nano_usd=int(terms.usd * NANO),
            tokens=terms.tokens,
            requests=terms.requests,
            concurrent=terms.concurrent,
            lasting=Duration(seconds=int(terms.lasting_s)),
            models=[
                pb.PricedModel(model=one.name, provider=one.provider, provider_model=one.provider_model)
                for one in list(self.models.known.values())[:MOST_MODELS]
            ],
        )
        try:
            made = await self.stub.CarveAllowance(
                request, metadata=(("authorization", f"Bearer {self.desk.key}"),), timeout=WITHIN_S
            )
        except grpc.aio.AioRpcError as error:  # what it has already stays its own until its time is over
            log.info("no allowance for the moment: %s of %s", error.code().name, account)
        else:
            held.filled(made, terms.lasting_s)
        finally:
            held.asking = False
