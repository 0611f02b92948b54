"""The ledger's facts as the edge tells them: US dollars as numbers, times in seconds, both for people and their tools."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2
from tollway.ledger.v1 import ledger_pb2 as pb

from services.edge.wire.errors import Refusal, decoded

NANO = 1_000_000_000
UNITS = {
    "usd": pb.UNIT_NANO_USD,
    "tokens": pb.UNIT_TOKENS,
    "requests": pb.UNIT_REQUESTS,
    "concurrent": pb.UNIT_CONCURRENT_REQUESTS,
}
WINDOWS = {
    "total": pb.WINDOW_TOTAL,
    "minute": pb.WINDOW_MINUTE,
    "day": pb.WINDOW_DAY,
    "month": pb.WINDOW_MONTH,
    "rolling_hour": pb.WINDOW_ROLLING_HOUR,
    "rolling_day": pb.WINDOW_ROLLING_DAY,
    "rolling_30_days": pb.WINDOW_ROLLING_30_DAYS,
}


class BudgetBody(Struct, forbid_unknown_fields=True):
    account: Annotated[str, Meta(min_length=1, max_length=256)]
    limit: Annotated[float, Meta(ge=0, le=4e9)]
    unit: Literal["usd", "tokens", "requests", "concurrent"] = "usd"
    window: Literal["total", "minute", "day", "month", "rolling_hour", "rolling_day", "rolling_30_days"] = "month"
    name: Annotated[str, Meta(min_length=1, max_length=64)] = "main"
    time_zone: Annotated[str, Meta(max_length=64)] = ""
    model: Annotated[str, Meta(max_length=256)] = ""
    warn_at: Annotated[float, Meta(ge=0, le=1)] = 0.8


class SuspensionBody(Struct, forbid_unknown_fields=True):
    account: Annotated[str, Meta(min_length=1, max_length=256)]
    reason: Annotated[str, Meta(max_length=512)] = ""


_BUDGET, _SUSPENSION = msgspec.json.Decoder(BudgetBody), msgspec.json.Decoder(SuspensionBody)


def budget_of(raw: bytes) -> pb.Budget:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_BUDGET, raw)
    limit = int(Decimal(repr(said.limit)) * NANO) if said.unit == "usd" else int(said.limit)
    return pb.Budget(
        account=said.account, name=said.name, unit=UNITS[said.unit], limit=limit, window=WINDOWS[said.window],
        time_zone=said.time_zone, model=said.model, warn_at=said.warn_at,
    )  # fmt: skip


def suspension_of(raw: bytes) -> pb.SuspendAccountRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_SUSPENSION, raw)
    return pb.SuspendAccountRequest(account=said.account, reason=said.reason)


def when(text: str, name: str) -> Timestamp | None:
    """A time as ISO 8601, in UTC where it names no zone.

    Raises:
        Refusal
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(
            400, "invalid_value", f"invalid value for {name}: a time as 2026-03-01T12:00:00", param=name
        ) from None
    made = Timestamp()
    made.FromDatetime(at if at.tzinfo else at.replace(tzinfo=UTC))
    return made


def usage(row: pb.UsageRow) -> dict[str, Any]:
    return {
        "group": row.group,
        "requests": row.requests,
        "cached_requests": row.cached_requests,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": row.cost_nano_usd / NANO,
        "baseline_usd": row.baseline_nano_usd / NANO,
        "cached_baseline_usd": row.cached_baseline_nano_usd / NANO,
    }


def entry(one: pb.Entry) -> dict[str, Any]:
    return {
        "id": one.reservation_id,
        "at": _seconds(one.at),
        "account": one.account,
        "key_id": one.key_id,
        "model": one.model,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": one.cost_nano_usd / NANO,
        "cached": one.cached,
        "tags": dict(one.tags),
    }


def forecast(made: pb.ForecastUsageResponse) -> dict[str, Any]:
    return {
        "spent_usd": made.spent_nano_usd / NANO,
        "expected_usd": made.expected_nano_usd / NANO,
        "low_usd": made.low_nano_usd / NANO,
        "high_usd": made.high_nano_usd / NANO,
        "days": made.days,
        "month_ends": _seconds(made.month_ends),
    }


def budget(one: pb.BudgetState) -> dict[str, Any]:
    """Amounts in the budget's unit; money in US dollars."""
    said = one.budget
    units, windows = ({number: name for name, number in words.items()} for words in (UNITS, WINDOWS))
    share = NANO if said.unit == pb.UNIT_NANO_USD else 1
    return {
        "account": said.account,
        "name": said.name,
        "unit": units[said.unit],
        "window": windows[said.window],
        "time_zone": said.time_zone,
        "model": said.model,
        "warn_at": said.warn_at,
        "limit": said.limit / share,
        "spent": one.spent / share,
        "held": one.held / share,
        "available": one.available / share,
        "resets": _seconds(one.resets) if one.HasField("resets") else None,
    }


def alert(one: pb.Alert) -> dict[str, Any]:
    return {
        "id": one.alert_id,
        "kind": one.kind,
        "account": one.account,
        "subject": one.subject,
        "text": one.text,
        "at": _seconds(one.at),
    }


def suspension(one: pb.Suspension) -> dict[str, Any]:
    return {"account": one.account, "reason": one.reason, "since": _seconds(one.since), "by": one.by_key_id}


def status(made: gateway_pb2.GetStatusResponse) -> dict[str, Any]:
    return {
        "services": [
            {
                "name": one.name,
                "serving": one.serving,
                "why": one.why,
                "took_ms": one.took.ToMicroseconds() / 1000,
            }
            for one in made.services
        ],
        "models": [
            {
                "model": one.model,
                "available": one.available,
                "error_rate": one.error_rate,
                "latency_ms": one.latency.ToMicroseconds() / 1000,
                "saturation": one.saturation,
            }
            for one in made.models
        ],
    }


def _seconds(at: Timestamp) -> float:
    return round(at.seconds + at.nanos / 1e9, 3)
