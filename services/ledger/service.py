"""Translates messages to the books and back. The rules are in `books`, the state in `replica`."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1.ledger_pb2_grpc import LedgerServiceServicer

from services.ledger import keys
from services.ledger.books import Budget, Need, Unit
from services.ledger.holds import Attempt, Hold, opened
from services.ledger.prices import PriceBook, Tokens
from services.ledger.replica import Replica
from services.ledger.store import ApiKey, BudgetUnknown, Entry, Standing, Store
from services.ledger.windows import BEGINNING, Window, ends, zone
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind

UNITS = {pb.UNIT_NANO_USD: Unit.NANO_USD, pb.UNIT_TOKENS: Unit.TOKENS, pb.UNIT_REQUESTS: Unit.REQUESTS}
WINDOWS = {
    pb.WINDOW_UNSPECIFIED: Window.TOTAL,
    pb.WINDOW_TOTAL: Window.TOTAL,
    pb.WINDOW_MINUTE: Window.MINUTE,
    pb.WINDOW_DAY: Window.DAY,
    pb.WINDOW_MONTH: Window.MONTH,
}
REVOCATIONS_EVERY_S = 0.3
PAGE = 100


class OtherTenant(Failure):
    kind, reason = Kind.DENIED, "OTHER_TENANT"
    text = "{account} is not yours to see"


@dataclass(slots=True)
class LedgerService(LedgerServiceServicer):
    store: Store
    replica: Replica
    signer: keys.Signer
    prices: PriceBook
    secret: bytes
    """Seals holds; shared by all replicas."""

    async def Authenticate(self, request: pb.AuthenticateRequest, context: object) -> pb.AuthenticateResponse:
        now = datetime.now(UTC)
        key = keys.usable(await self.store.find_key(keys.digest(request.api_key)), now)
        token, expires = self.signer.token(key, now)
        return pb.AuthenticateResponse(token=token, expires=_stamp(expires))

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: object) -> pb.ExchangeTokenResponse:
        actor, now = identity.administrator(), datetime.now(UTC)
        key = keys.usable(await self.store.key(request.key_id), now)
        token, expires = self.signer.token(key, now, actor.key_id)
        return pb.ExchangeTokenResponse(token=token, expires=_stamp(expires))

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: object) -> pb.ListSigningKeysResponse:
        known = await self.store.signing_keys(datetime.now(UTC))
        return pb.ListSigningKeysResponse(
            keys=[pb.SigningKey(key_id=key_id, ed25519=public) for key_id, public in known.items()]
        )

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        told: set[str] = set()
        while True:
            since = datetime.now(UTC) - 2 * keys.LIFETIME
            revoked = set(await self.store.revoked_since(since))
            if fresh := revoked - told:
                yield pb.WatchResponse(revoked_key_ids=sorted(fresh))
            told = revoked
            await asyncio.sleep(REVOCATIONS_EVERY_S)

    async def CreateKey(self, request: pb.CreateKeyRequest, context: object) -> pb.CreateKeyResponse:
        identity.administrator()
        now, secret = datetime.now(UTC), keys.fresh_secret()
        lifetime = request.lifetime.ToTimedelta() if request.HasField("lifetime") else None
        asked = ApiKey(
            id=f"key_{uuid4().hex[:16]}",
            account=request.account,
            name=request.name,
            secret_hash=keys.digest(secret),
            admin=request.admin,
            models=tuple(request.models),
            created=now,
            expires=now + lifetime if lifetime is not None else None,
        )
        made = await self.store.add_key(asked, request.request_id)
        return pb.CreateKeyResponse(key=_key(made), secret=secret if made.id == asked.id else "")

    async def ListKeys(self, request: pb.ListKeysRequest, context: object) -> pb.ListKeysResponse:
        identity.administrator()
        most = request.page_size or PAGE
        found = await self.store.keys(request.account, request.page_token, most + 1)
        return pb.ListKeysResponse(
            keys=map(_key, found[:most]), next_page_token=found[most - 1].id if len(found) > most else ""
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: object) -> pb.RevokeKeyResponse:
        identity.administrator()
        key = await self.store.revoke_key(request.key_id, datetime.now(UTC))
        if key is None:
            raise keys.NoSuchKey(key_id=request.key_id)
        return pb.RevokeKeyResponse(key=_key(key))

    async def RotateKey(self, request: pb.RotateKeyRequest, context: object) -> pb.RotateKeyResponse:
        identity.administrator()
        now, secret = datetime.now(UTC), keys.fresh_secret()
        old = await self.store.key(request.key_id)
        if old is None:
            raise keys.NoSuchKey(key_id=request.key_id)
        overlap = request.overlap.ToTimedelta() if request.HasField("overlap") else keys.OVERLAP
        fresh = keys.successor(keys.usable(old, now), f"key_{uuid4().hex[:16]}", secret, now)
        made = await self.store.add_key(fresh, request.request_id)
        if made.id == fresh.id:  # a retry does not let the old one live longer
            old = await self.store.expire_key(old.id, now + overlap) or old
        return pb.RotateKeyResponse(key=_key(made), secret=secret if made.id == fresh.id else "", old=_key(old))

    async def SetBudget(self, request: pb.SetBudgetRequest, context: object) -> pb.SetBudgetResponse:
        identity.administrator()
        budget = _budget(request.budget)
        await self.replica.give_back(budget.account, budget.name)
        await self.store.set_budget(budget)
        await self.replica.load()
        stands = await self.replica.standing(budget.account)
        state = next(_state(*one) for one in stands if one[0].account == budget.account and one[0].name == budget.name)
        return pb.SetBudgetResponse(state=state)

    async def DeleteBudget(self, request: pb.DeleteBudgetRequest, context: object) -> pb.DeleteBudgetResponse:
        identity.administrator()
        if not await self.store.delete_budget(request.account, request.name):
            raise BudgetUnknown(account=request.account, name=request.name)
        await self.replica.load()
        self.replica.forget(request.account, request.name)
        return pb.DeleteBudgetResponse()

    async def ListBudgets(self, request: pb.ListBudgetsRequest, context: object) -> pb.ListBudgetsResponse:
        account = _readable(request.account)
        states = [_state(*one) for one in await self.replica.standing(account)]
        names = [f"{state.budget.account}:{state.budget.name}" for state in states]
        start = names.index(request.page_token) + 1 if request.page_token in names else 0
        most = request.page_size or PAGE
        page = slice(start, start + most)
        more = len(states) > start + most
        return pb.ListBudgetsResponse(budgets=states[page], next_page_token=names[page][-1] if more else "")

    async def Reserve(self, request: pb.ReserveRequest, context: object) -> pb.ReserveResponse:
        caller, at = identity.caller(), datetime.now(UTC)
        reservation = UUID(request.reservation_id)
        if request.again and (found := await self.replica.free_id(reservation, caller.acts)) != reservation:
            if found is None:
                return pb.ReserveResponse(paid=True)
            reservation = found
        needs, attempts = [], []
        money = bool(request.ceiling_nano_usd) or self.replica.counts_money(caller.account)
        for one in request.attempts:
            tokens = Tokens(one.input_tokens, one.output_tokens)
            cost = self._priced(one.model, one.provider, one.provider_model, tokens, at, needed=money)
            needs.append(Need(one.model, cost, tokens.input + tokens.output))
            attempts.append(Attempt(one.model, one.provider, one.provider_model))
        hold, warnings = await self.replica.reserve(
            reservation,
            caller.account,
            caller.key_id,
            needs or [Need("", 0, 0)],
            tuple(attempts),
            request.ceiling_nano_usd,
            trusted=request.again and caller.acts,
        )
        return pb.ReserveResponse(
            held_nano_usd=hold.nano_usd,
            hold=hold.sealed(self.secret),
            warnings=warnings,
            expires=Timestamp(seconds=int(hold.expires)),
            reservation_id="" if str(reservation) == request.reservation_id else str(reservation),
        )

    async def Settle(self, request: pb.SettleRequest, context: object) -> pb.SettleResponse:
        hold, at = self._own(request.reservation_id, request.hold), datetime.now(UTC)
        tokens = Tokens(
            request.input_tokens, request.output_tokens, request.cached_input_tokens, request.reasoning_tokens
        )
        cost = self._cost(hold, request.model, tokens, at)
        entry = Entry(
            hold.reservation_id, "settled", at, hold.key_id, hold.account, request.model, tokens.input,
            tokens.output, tokens.cached, tokens.reasoning, cost, hold.nano_usd, request.cached, dict(request.tags),
        )  # fmt: skip
        used = Need(request.model, cost, tokens.input + tokens.output)
        stands = await self.replica.end(hold, entry, used, again=request.again)
        return pb.SettleResponse(cost_nano_usd=stands.cost, overrun_nano_usd=max(stands.cost - stands.held, 0))

    async def Release(self, request: pb.ReleaseRequest, context: object) -> pb.ReleaseResponse:
        hold, at = self._own(request.reservation_id, request.hold), datetime.now(UTC)
        entry = Entry(hold.reservation_id, "released", at, hold.key_id, hold.account, held=hold.nano_usd)
        await self.replica.end(hold, entry, Need("", 0, 0, 0))
        return pb.ReleaseResponse()

    async def ListPrices(self, request: pb.ListPricesRequest, context: object) -> pb.ListPricesResponse:
        at = datetime.now(UTC)
        return pb.ListPricesResponse(prices=[self._price(one, at) for one in request.models])

    async def QueryUsage(self, request: pb.QueryUsageRequest, context: object) -> pb.QueryUsageResponse:
        account = _readable(request.account)
        since = request.since.ToDatetime(UTC) if request.HasField("since") else BEGINNING
        until = request.until.ToDatetime(UTC) if request.HasField("until") else datetime.now(UTC) + timedelta(days=1)
        most = request.page_size or PAGE
        rows = await self.store.usage(account, since, until, request.group_by, request.page_token, most + 1)
        return pb.QueryUsageResponse(
            rows=[
                pb.UsageRow(
                    group=row.group,
                    requests=row.requests,
                    cached_requests=row.cached_requests,
                    input_tokens=row.input_tokens,
                    output_tokens=row.output_tokens,
                    cost_nano_usd=row.cost,
                )
                for row in rows[:most]
            ],
            next_page_token=rows[most - 1].group if len(rows) > most else "",
        )

    def _price(self, one: pb.PricedModel, at: datetime) -> pb.ModelPrice:
        names = (one.model, one.provider, one.provider_model)
        if not self.prices.known(*names, at):
            return pb.ModelPrice(model=one.model)
        return pb.ModelPrice(
            model=one.model,
            input_nano_usd_per_million=self.prices.cost(*names, Tokens(1_000_000, 0), at),
            output_nano_usd_per_million=self.prices.cost(*names, Tokens(0, 1_000_000), at),
            known=True,
        )

    def _own(self, reservation_id: str, sealed: bytes) -> Hold:
        """The hold, which must be the caller's own tenant's."""
        hold = opened(self.secret, UUID(reservation_id), sealed)
        caller = identity.caller()
        if hold.account.partition("/")[0] != caller.tenant and not caller.admin:
            raise OtherTenant(account=hold.account)
        return hold

    def _cost(self, hold: Hold, model: str, tokens: Tokens, at: datetime) -> int:
        if not model or (tokens.input == 0 and tokens.output == 0):
            return 0
        attempt = next((one for one in hold.attempts if one.model == model), None)
        if attempt is None:  # priced by name alone: a model outside the reservation is a fact, too
            attempt = Attempt(model, "", model)
        return self._priced(model, attempt.provider, attempt.provider_model, tokens, at, needed=False)

    def _priced(
        self, model: str, provider: str, provider_model: str, tokens: Tokens, at: datetime, *, needed: bool
    ) -> int:
        """The cost; of a model without a price 0, unless money is counted."""
        if not needed and not self.prices.known(model, provider, provider_model, at):
            telemetry.event("price unknown", model=model)
            return 0
        return self.prices.cost(model, provider, provider_model, tokens, at)


def _readable(account: str) -> str:
    """The account asked about, or the caller's own; others only for administrators."""
    caller = identity.caller()
    asked = account or caller.account
    if not caller.admin and asked != caller.account and not asked.startswith(f"{caller.account}/"):
        raise OtherTenant(account=asked)
    return asked


def _budget(message: pb.Budget) -> Budget:
    zone(message.time_zone)
    return Budget(
        message.account, message.name, UNITS[message.unit], message.limit, WINDOWS[message.window],
        message.time_zone, message.model, message.warn_at,
    )  # fmt: skip


def _state(budget: Budget, stands: Standing, held: int) -> pb.BudgetState:
    units = {unit: number for number, unit in UNITS.items()}
    windows = {window: number for number, window in WINDOWS.items()}
    over = ends(budget.window, datetime.now(UTC), budget.time_zone)
    return pb.BudgetState(
        budget=pb.Budget(
            account=budget.account,
            name=budget.name,
            unit=units[budget.unit],
            limit=budget.limit,
            window=windows[budget.window],
            time_zone=budget.time_zone,
            model=budget.model,
            warn_at=budget.warn_at,
        ),
        spent=stands.spent,
        held=held,
        available=stands.limit - stands.spent - held,
        resets=_stamp(over) if over else None,
    )


def _key(key: ApiKey) -> pb.Key:
    return pb.Key(
        key_id=key.id,
        account=key.account,
        name=key.name,
        admin=key.admin,
        created=_stamp(key.created),
        expires=_stamp(key.expires) if key.expires else None,
        revoked=key.revoked is not None,
        models=key.models,
    )


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
