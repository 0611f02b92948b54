"""Translates messages to the books and back. The rules are in `books`, the state in `replica`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from asyncpg.pgproto.pgproto import UUID as FastUUID  # read and written in a tenth of the time
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1.ledger_pb2_grpc import LedgerServiceServicer

from services.ledger import counts, forecast, keys, messages
from services.ledger.allowances import carve
from services.ledger.books import Need, Unit
from services.ledger.client_secrets import ClientSecrets
from services.ledger.credentials import Credentials
from services.ledger.guardian import Guardian
from services.ledger.holds import Attempt, Hold, opened
from services.ledger.messages import OtherTenant, readable, stamp
from services.ledger.oidc import Issuers
from services.ledger.people import People
from services.ledger.prices import PriceBook
from services.ledger.pricing import Pricing, labels, plain, tokens_of
from services.ledger.replica import Replica
from services.ledger.revocations import EVERY_S, Revocations
from services.ledger.safeguards import Safeguard, SafeguardUnknown
from services.ledger.store import Alert, ApiKey, Asked, BudgetUnknown, Entry, Store
from services.ledger.suspensions import NotSuspended, OwnAccount, Suspension, stopped
from services.ledger.windows import BEGINNING, Window, began, ends, zone
from services.runtime import identity
from services.runtime.identity import AccountSuspended

PAGE, MOST_ENTRIES = 100, 1000


@dataclass(slots=True)
class LedgerService(LedgerServiceServicer):
    store: Store
    replica: Replica
    signer: keys.Signer
    prices: PriceBook
    secret: bytes
    """Seals holds; shared by all replicas."""
    people: People
    issuers: Issuers
    client_secrets: ClientSecrets
    strongest: Attempt | None = None
    """What every answer's cost is compared with."""
    guardian: Guardian = field(init=False)
    credentials: Credentials = field(init=False)
    pricing: Pricing = field(init=False)
    revocations: Revocations = field(init=False)

    def __post_init__(self) -> None:
        self.credentials = Credentials(self.store, self.people, self.issuers, self.client_secrets)
        self.guardian = Guardian(self.store, self.replica)
        self.pricing = Pricing(self.prices, self.strongest)
        self.revocations = Revocations(self.store, self.signer.lifetime)

    async def Authenticate(self, request: pb.AuthenticateRequest, context: object) -> pb.AuthenticateResponse:
        now = datetime.now(UTC)
        key = self._going(await self.credentials.shown(request.api_key, request.id_token, now))
        token, expires = self.signer.token(key, now)
        return pb.AuthenticateResponse(token=token, expires=stamp(expires))

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: object) -> pb.ExchangeTokenResponse:
        actor, now = identity.administrator(), datetime.now(UTC)
        key = self._going(await self.credentials.behalf(request.key_id, now))
        token, expires = self.signer.token(key, now, actor.key_id)
        return pb.ExchangeTokenResponse(token=token, expires=stamp(expires))

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: object) -> pb.ListSigningKeysResponse:
        known = await self.store.signing_keys(datetime.now(UTC))
        return pb.ListSigningKeysResponse(
            keys=[pb.SigningKey(key_id=key_id, ed25519=public) for key_id, public in known.items()]
        )

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        told, suspended = frozenset[str](), None
        while True:
            revoked, stand = await self.revocations.lately(), sorted(self.replica.suspended)
            if revoked - told or stand != suspended:
                yield pb.WatchResponse(
                    revoked_key_ids=sorted(revoked - told),
                    suspended_accounts=stand,
                    suspensions_told=stand != suspended,
                )
            told, suspended = revoked, stand
            await asyncio.sleep(EVERY_S)

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
            scopes=tuple(messages.SCOPES[one] for one in request.scopes),
            regions=tuple(request.regions),
        )
        made = await self.store.add_key(asked, request.request_id)
        return pb.CreateKeyResponse(key=messages.key(made), secret=secret if made.id == asked.id else "")

    async def ListKeys(self, request: pb.ListKeysRequest, context: object) -> pb.ListKeysResponse:
        identity.administrator()
        most = request.page_size or PAGE
        found = await self.store.keys(request.account, request.page_token, most + 1)
        return pb.ListKeysResponse(
            keys=map(messages.key, found[:most]), next_page_token=found[most - 1].id if len(found) > most else ""
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: object) -> pb.RevokeKeyResponse:
        identity.administrator()
        key = await self.store.revoke_key(request.key_id, datetime.now(UTC))
        if key is None:
            raise keys.NoSuchKey(key_id=request.key_id)
        return pb.RevokeKeyResponse(key=messages.key(key))

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
        return pb.RotateKeyResponse(
            key=messages.key(made), secret=secret if made.id == fresh.id else "", old=messages.key(old)
        )

    async def SetRoleBinding(self, request: pb.SetRoleBindingRequest, context: object) -> pb.SetRoleBindingResponse:
        await self.people.bind(messages.binding_of(request.binding))
        return pb.SetRoleBindingResponse()

    async def DeleteRoleBinding(
        self, request: pb.DeleteRoleBindingRequest, context: object
    ) -> pb.DeleteRoleBindingResponse:
        await self.people.unbind(messages.binding_of(request.binding))
        return pb.DeleteRoleBindingResponse()

    async def ListRoleBindings(
        self, request: pb.ListRoleBindingsRequest, context: object
    ) -> pb.ListRoleBindingsResponse:
        most, after = request.page_size or PAGE, messages.binding_token(request.page_token)
        found = await self.people.listed(request.account, after, most + 1)
        token = messages.token_of(found[most - 1]) if len(found) > most else ""
        return pb.ListRoleBindingsResponse(bindings=map(messages.binding, found[:most]), next_page_token=token)

    async def SuspendAccount(self, request: pb.SuspendAccountRequest, context: object) -> pb.SuspendAccountResponse:
        caller = identity.administrator()
        if stopped(caller.account, [request.account]):
            raise OwnAccount(account=request.account)
        asked = Suspension(request.account, request.reason, datetime.now(UTC), caller.key_id)
        made = await self.store.suspend(asked)
        self.guardian.suspended(made)
        await self.replica.load()
        return pb.SuspendAccountResponse(suspension=messages.suspension(made))

    async def ResumeAccount(self, request: pb.ResumeAccountRequest, context: object) -> pb.ResumeAccountResponse:
        identity.administrator()
        if not await self.store.resume(request.account):
            raise NotSuspended(account=request.account)
        await self.replica.load()
        return pb.ResumeAccountResponse()

    async def ListSuspensions(self, request: pb.ListSuspensionsRequest, context: object) -> pb.ListSuspensionsResponse:
        identity.administrator()
        found, more = _page(await self.store.suspensions(), request.page_token, request.page_size or PAGE)
        return pb.ListSuspensionsResponse(suspensions=map(messages.suspension, found), next_page_token=more)

    async def SetSafeguard(self, request: pb.SetSafeguardRequest, context: object) -> pb.SetSafeguardResponse:
        identity.administrator()
        await self.store.set_safeguard(messages.safeguard_of(request.safeguard))
        await self.replica.load()
        return pb.SetSafeguardResponse()

    async def DeleteSafeguard(self, request: pb.DeleteSafeguardRequest, context: object) -> pb.DeleteSafeguardResponse:
        identity.administrator()
        if not await self.store.delete_safeguard(request.account):
            raise SafeguardUnknown(account=request.account)
        await self.replica.load()
        return pb.DeleteSafeguardResponse()

    async def ListSafeguards(self, request: pb.ListSafeguardsRequest, context: object) -> pb.ListSafeguardsResponse:
        identity.administrator()
        found, more = _page(await self.store.safeguards(), request.page_token, request.page_size or PAGE)
        return pb.ListSafeguardsResponse(safeguards=map(messages.safeguard, found), next_page_token=more)

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: object) -> pb.ListAlertsResponse:
        found = await self.store.alerts(readable(request.account), request.after, request.page_size or PAGE)
        return pb.ListAlertsResponse(alerts=map(messages.alert, found))

    async def RaiseAlert(self, request: pb.RaiseAlertRequest, context: object) -> pb.RaiseAlertResponse:
        actor = identity.administrator()
        made = Alert(request.kind, request.account, request.subject, request.text, datetime.now(UTC))
        await self.store.add_alert(made, f"{request.kind}/{actor.key_id}/{request.request_id}")
        return pb.RaiseAlertResponse()

    async def Erase(self, request: pb.EraseRequest, context: object) -> pb.EraseResponse:
        caller, tenant = identity.caller(), request.tenant
        if request.everything and stopped(caller.account, [tenant]):
            raise OwnAccount(account=tenant)
        gone = await self.store.erase(tenant, request.subject, datetime.now(UTC))
        if request.everything:
            budgets = [one.budget for one in self.replica.bounds if stopped(one.budget.account, [tenant])]
            await self.replica.load()
            for one in budgets:
                self.replica.leases.forget(one.account, one.name)
        return pb.EraseResponse(erased=gone)

    async def SetBudget(self, request: pb.SetBudgetRequest, context: object) -> pb.SetBudgetResponse:
        identity.administrator()
        budget = messages.budget_of(request.budget)
        leases = self.replica.leases
        await leases.give_back(leases.of(budget.account, budget.name))
        await self.store.set_budget(budget)
        await self.replica.load()
        bound = self.replica.bounds.of(budget.account, budget.name)
        stands = await self.replica.leases.standing([bound] if bound is not None else [])
        if not stands:  # somebody has removed it since
            raise BudgetUnknown(account=budget.account, name=budget.name)
        return pb.SetBudgetResponse(state=messages.state(*stands[0]))

    async def DeleteBudget(self, request: pb.DeleteBudgetRequest, context: object) -> pb.DeleteBudgetResponse:
        identity.administrator()
        if not await self.store.delete_budget(request.account, request.name):
            raise BudgetUnknown(account=request.account, name=request.name)
        await self.replica.load()
        self.replica.leases.forget(request.account, request.name)
        return pb.DeleteBudgetResponse()

    async def ListBudgets(self, request: pb.ListBudgetsRequest, context: object) -> pb.ListBudgetsResponse:
        account = readable(request.account)
        bounds = list(self.replica.bounds.above(account) if account else self.replica.bounds)
        names = [f"{one.budget.account}:{one.budget.name}" for one in bounds]
        start = names.index(request.page_token) + 1 if request.page_token in names else 0
        page = slice(start, start + (request.page_size or PAGE))
        more = len(bounds) > page.stop
        states = [messages.state(*one) for one in await self.replica.leases.standing(bounds[page])]
        return pb.ListBudgetsResponse(budgets=states, next_page_token=names[page][-1] if more else "")

    async def Reserve(self, request: pb.ReserveRequest, context: object) -> pb.ReserveResponse:
        caller, at = identity.caller(), datetime.now(UTC)
        if account := stopped(caller.account, self.replica.suspended):
            raise AccountSuspended(account=account)
        reservation: UUID = FastUUID(request.reservation_id)
        if request.again and (found := await self.replica.free_id(reservation, caller.acts)) != reservation:
            if found is None:
                return pb.ReserveResponse(paid=True)
            reservation = found
        needs, attempts = [], []
        money = bool(request.ceiling_nano_usd) or self.replica.bounds.counts_money(caller.account)
        for one in request.attempts:
            needs.append(Need(one.model, *self.pricing.held(one, at, needed=money)))
            attempts.append(Attempt(one.model, one.provider, one.provider_model))
        dearest = max((need.nano_usd for need in needs), default=0)
        seen = await self.guardian.checked(caller, request.likeness, dearest, at)
        granted = await self.replica.reserve(
            reservation,
            caller.account,
            caller.key_id,
            needs or [Need("", 0, 0)],
            tuple(attempts),
            request.ceiling_nano_usd,
            trusted=request.again and caller.acts,
        )
        hold = granted.hold
        sealed = hold.sealed(self.secret)
        self.replica.told(reservation, sealed)
        made = pb.ReserveResponse(
            held_nano_usd=hold.nano_usd,
            hold=sealed,
            warnings=[*granted.warnings, *seen],
            expires=Timestamp(seconds=int(hold.expires)),
            reservation_id="" if str(reservation) == request.reservation_id else str(reservation),
        )
        if granted.limits:
            made.limits.extend(map(messages.limit, granted.limits))
        return made

    async def Settle(self, request: pb.SettleRequest, context: object) -> pb.SettleResponse:
        hold, at = self._own(request.reservation_id, request.hold), datetime.now(UTC)
        tokens = tokens_of(request)
        cost = self.pricing.settled(hold, request, tokens, at)
        entry = Entry(
            hold.reservation_id, "settled", at, plain(hold.key_id or request.key_id), hold.account, plain(request.model), tokens.input,
            tokens.output, tokens.cached, tokens.reasoning, cost, hold.nano_usd, request.cached, labels(request),
            self.pricing.baseline(request, at),
        )  # fmt: skip
        used = Need(request.model, cost, tokens.input + tokens.output)
        stands = await self.replica.end(hold, entry, used, again=request.again)
        counts.settled(entry)
        return pb.SettleResponse(cost_nano_usd=stands.cost, overrun_nano_usd=max(stands.cost - stands.held, 0))

    async def Release(self, request: pb.ReleaseRequest, context: object) -> pb.ReleaseResponse:
        hold, at = self._own(request.reservation_id, request.hold), datetime.now(UTC)
        entry = Entry(hold.reservation_id, "released", at, hold.key_id, hold.account, held=hold.nano_usd)
        await self.replica.end(hold, entry, Need("", 0, 0, 0))
        return pb.ReleaseResponse()

    async def CarveAllowance(self, request: pb.CarveAllowanceRequest, context: object) -> pb.CarveAllowanceResponse:
        at, lasting = datetime.now(UTC), request.lasting.ToTimedelta()
        most = {
            Unit.NANO_USD: request.nano_usd,
            Unit.TOKENS: request.tokens,
            Unit.REQUESTS: request.requests,
            Unit.CONCURRENT: request.concurrent,
        }
        attempts = tuple(Attempt(one.model, one.provider, one.provider_model) for one in request.models)
        hold, given = await carve(self.replica, UUID(request.allowance_id), request.account, most, lasting, attempts)
        return pb.CarveAllowanceResponse(
            allowance=hold.sealed(self.secret),
            nano_usd=given[Unit.NANO_USD],
            tokens=given[Unit.TOKENS],
            requests=given[Unit.REQUESTS],
            concurrent=given[Unit.CONCURRENT],
            expires=Timestamp(seconds=int(hold.expires)),
            prices=[self.pricing.listed(one, at) for one in request.models],
            counts_money=self.replica.bounds.counts_money(request.account),
        )

    async def ListPrices(self, request: pb.ListPricesRequest, context: object) -> pb.ListPricesResponse:
        at = datetime.now(UTC)
        return pb.ListPricesResponse(prices=[self.pricing.listed(one, at) for one in request.models])

    async def QueryUsage(self, request: pb.QueryUsageRequest, context: object) -> pb.QueryUsageResponse:
        account = readable(request.account)
        since = request.since.ToDatetime(UTC) if request.HasField("since") else BEGINNING
        until = request.until.ToDatetime(UTC) if request.HasField("until") else datetime.now(UTC) + timedelta(days=1)
        most = request.page_size or PAGE
        asked = Asked(account, since, until, request.model, dict(request.tags), zone(request.time_zone).key)
        rows = await self.store.usage(asked, request.group_by, request.page_token, most + 1)
        return pb.QueryUsageResponse(
            rows=map(messages.usage, rows[:most]), next_page_token=rows[most - 1].group if len(rows) > most else ""
        )

    async def ListEntries(self, request: pb.ListEntriesRequest, context: object) -> pb.ListEntriesResponse:
        account = readable(request.account)
        since = request.since.ToDatetime(UTC) if request.HasField("since") else BEGINNING
        until = request.until.ToDatetime(UTC) if request.HasField("until") else datetime.now(UTC)
        most = request.page_size or MOST_ENTRIES
        after = messages.place(request.page_token)
        asked = Asked(account, since, until, request.model, dict(request.tags), key_id=request.key_id)
        found = await self.store.entries(asked, after, most + 1, newest_first=request.newest_first)
        more = messages.token(found[most - 1]) if len(found) > most else ""
        return pb.ListEntriesResponse(entries=map(messages.entry, found[:most]), next_page_token=more)

    async def ForecastUsage(self, request: pb.ForecastUsageRequest, context: object) -> pb.ForecastUsageResponse:
        account, now, where = readable(request.account), datetime.now(UTC), zone(request.time_zone).key
        month, today = (began(window, now, where) for window in (Window.MONTH, Window.DAY))
        day = now.astimezone(zone(where)).date()
        first = now - timedelta(weeks=forecast.WEEKS + 1)
        daily = await self.store.daily(Asked(account, min(first, month), now, time_zone=where))
        past = {one: spent for one, spent in daily.items() if one < day}
        spent = sum(cost for one, cost in daily.items() if one >= month.astimezone(zone(where)).date())
        over = ends(Window.DAY, now, where) or now
        left = (over - now) / (over - today)
        made = forecast.forecast(spent, past, min(past, default=day), day, left)
        return messages.forecast(made, ends(Window.MONTH, now, where) or now)

    def _going(self, key: ApiKey) -> ApiKey:
        """
        Raises:
            AccountSuspended
        """
        if account := stopped(key.account, self.replica.suspended):
            raise AccountSuspended(account=account)
        return key

    def _own(self, reservation_id: str, sealed: bytes) -> Hold:
        """The hold, which must be the caller's own tenant's."""
        reservation = FastUUID(reservation_id)
        hold = self.replica.shown(reservation, sealed) or opened(self.secret, reservation, sealed)
        caller = identity.caller()
        if hold.account.partition("/")[0] != caller.tenant and not caller.admin:
            raise OtherTenant(account=hold.account)
        return hold


Owned = TypeVar("Owned", Suspension, Safeguard)


def _page(every: Sequence[Owned], after: str, most: int) -> tuple[list[Owned], str]:
    """Those of the accounts behind `after`, and the token of the next page."""
    left = [one for one in every if one.account > after]
    return left[:most], left[most - 1].account if len(left) > most else ""
