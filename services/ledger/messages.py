"""Budgets, keys and entries from messages and as messages; and whose a caller may see."""

from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from tollway.ledger.v1 import ledger_pb2 as pb

from services.ledger.books import Budget, Unit, WindowUnfit
from services.ledger.forecast import Forecast
from services.ledger.roles import Binding
from services.ledger.safeguards import Action, Loop, Safeguard, Spike
from services.ledger.standings import Limit
from services.ledger.store import Alert, ApiKey, Entry, Standing, UsageRow
from services.ledger.suspensions import Suspension
from services.ledger.windows import Window, ends, zone
from services.runtime import identity
from services.runtime.errors import Failure, Kind

UNITS = {
    pb.UNIT_NANO_USD: Unit.NANO_USD,
    pb.UNIT_TOKENS: Unit.TOKENS,
    pb.UNIT_REQUESTS: Unit.REQUESTS,
    pb.UNIT_CONCURRENT_REQUESTS: Unit.CONCURRENT,
}
NUMBERS = {unit: number for number, unit in UNITS.items()}
WINDOWS = {
    pb.WINDOW_UNSPECIFIED: Window.TOTAL,
    pb.WINDOW_TOTAL: Window.TOTAL,
    pb.WINDOW_MINUTE: Window.MINUTE,
    pb.WINDOW_DAY: Window.DAY,
    pb.WINDOW_MONTH: Window.MONTH,
    pb.WINDOW_ROLLING_HOUR: Window.ROLLING_HOUR,
    pb.WINDOW_ROLLING_DAY: Window.ROLLING_DAY,
    pb.WINDOW_ROLLING_30_DAYS: Window.ROLLING_30_DAYS,
}
SCOPES = {number: name.removeprefix("SCOPE_").lower() for name, number in pb.Scope.items() if number}
"""As tokens and settings call them."""

EVERYBODY = "*"
"""Stands for every account."""
ACTIONS = {
    pb.SAFEGUARD_ACTION_FLAG: Action.FLAG,
    pb.SAFEGUARD_ACTION_THROTTLE: Action.THROTTLE,
    pb.SAFEGUARD_ACTION_SUSPEND: Action.SUSPEND,
}


class OtherTenant(Failure):
    kind, reason = Kind.DENIED, "OTHER_TENANT"
    text = "{account} is not yours to see"


class PageUnknown(Failure):
    kind, reason = Kind.INVALID, "PAGE_UNKNOWN"
    text = "this is no page's token"
    field = "page_token"


def readable(account: str) -> str:
    """The account asked about, or the caller's own; others only for administrators, and `*` as '' for all of them."""
    caller = identity.scoped("usage")
    if account == EVERYBODY:
        identity.administrator()
        return ""
    asked = account or caller.account
    if not caller.over(asked):
        raise OtherTenant(account=asked)
    return asked


def budget_of(message: pb.Budget) -> Budget:
    """
    Raises:
        ZoneUnknown, WindowUnfit
    """
    zone(message.time_zone)
    if message.unit == pb.UNIT_CONCURRENT_REQUESTS and WINDOWS[message.window] is not Window.TOTAL:
        raise WindowUnfit
    return Budget(
        message.account, message.name, UNITS[message.unit], message.limit, WINDOWS[message.window],
        message.time_zone, message.model, message.warn_at,
    )  # fmt: skip


def budget(one: Budget) -> pb.Budget:
    windows = {window: number for number, window in WINDOWS.items()}
    return pb.Budget(
        account=one.account,
        name=one.name,
        unit=NUMBERS[one.unit],
        limit=one.limit,
        window=windows[one.window],
        time_zone=one.time_zone,
        model=one.model,
        warn_at=one.warn_at,
    )


def state(of: Budget, stands: Standing, held: int) -> pb.BudgetState:
    over = ends(of.window, datetime.now(UTC), of.time_zone)
    return pb.BudgetState(
        budget=budget(of),
        spent=stands.spent,
        held=held,
        available=stands.limit - stands.spent - held,
        resets=stamp(over) if over else None,
    )


def limit(of: Limit) -> pb.RateLimit:
    return pb.RateLimit(unit=NUMBERS[of.budget.unit], limit=of.budget.limit, remaining=of.left, resets=stamp(of.resets))


def key(key: ApiKey) -> pb.Key:
    return pb.Key(
        key_id=key.id,
        account=key.account,
        name=key.name,
        admin=key.admin,
        created=stamp(key.created),
        expires=stamp(key.expires) if key.expires else None,
        revoked=key.revoked is not None,
        models=key.models,
        scopes=[number for number, name in SCOPES.items() if name in key.scopes],
        regions=key.regions,
    )


def suspension(one: Suspension) -> pb.Suspension:
    return pb.Suspension(account=one.account, reason=one.reason, since=stamp(one.since), by_key_id=one.key_id)


def safeguard_of(message: pb.Safeguard) -> Safeguard:
    loop, spike = message.loop, message.spike
    return Safeguard(
        message.account,
        Loop(loop.likeness, loop.most, loop.within.ToTimedelta().total_seconds()) if message.HasField("loop") else None,
        Spike(spike.times, spike.least_nano_usd) if message.HasField("spike") else None,
        ACTIONS.get(message.action, Action.FLAG),
    )


def safeguard(one: Safeguard) -> pb.Safeguard:
    actions = {action: number for number, action in ACTIONS.items()}
    made = pb.Safeguard(account=one.account, action=actions[one.action])
    if one.loop is not None:
        made.loop.likeness, made.loop.most = one.loop.likeness, one.loop.most
        made.loop.within.FromMilliseconds(round(one.loop.within_s * 1000))
    if one.spike is not None:
        made.spike.times, made.spike.least_nano_usd = one.spike.times, one.spike.least
    return made


ROLES = {name.removeprefix("ROLE_").lower(): number for name, number in pb.Role.items() if number}
_ROLE_NAMES = {number: name for name, number in ROLES.items()}


def binding_of(said: pb.RoleBinding) -> Binding:
    return Binding(said.account, said.subject, _ROLE_NAMES[said.role])


def binding(one: Binding) -> pb.RoleBinding:
    return pb.RoleBinding(account=one.account, subject=one.subject, role=ROLES[one.role])


def binding_token(said: str) -> Binding | None:
    parts = said.split("\n")
    return Binding(*parts) if len(parts) == 3 else None


def token_of(one: Binding) -> str:
    return "\n".join((one.account, one.subject, one.role))


def alert(one: Alert) -> pb.Alert:
    return pb.Alert(
        alert_id=one.id, kind=one.kind, account=one.account, subject=one.subject, text=one.text, at=stamp(one.at)
    )


def usage(row: UsageRow) -> pb.UsageRow:
    return pb.UsageRow(
        group=row.group,
        requests=row.requests,
        cached_requests=row.cached_requests,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_nano_usd=row.cost,
        baseline_nano_usd=row.baseline,
        cached_baseline_nano_usd=row.cached_baseline,
    )


def entry(one: Entry) -> pb.Entry:
    return pb.Entry(
        reservation_id=str(one.reservation_id),
        at=stamp(one.at),
        account=one.account,
        key_id=one.key_id,
        model=one.model,
        input_tokens=one.input_tokens,
        output_tokens=one.output_tokens,
        cached_input_tokens=one.cached_tokens,
        reasoning_tokens=one.reasoning_tokens,
        cost_nano_usd=one.cost,
        cached=one.cached,
        tags=one.tags,
    )


def token(last: Entry) -> str:
    """Where the next page of entries goes on."""
    return f"{last.at.isoformat()},{last.reservation_id}"


def place(token: str) -> tuple[datetime, UUID] | None:
    """
    Raises:
        PageUnknown: this is no page's token.
    """
    if not token:
        return None
    at, _, last = token.partition(",")
    try:
        return datetime.fromisoformat(at), UUID(last)
    except ValueError:
        raise PageUnknown from None


def forecast(made: Forecast, month_ends: datetime) -> pb.ForecastUsageResponse:
    return pb.ForecastUsageResponse(
        spent_nano_usd=made.spent,
        expected_nano_usd=made.expected,
        low_nano_usd=made.low,
        high_nano_usd=made.high,
        days=made.days,
        month_ends=stamp(month_ends),
    )


def stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
