"""When a budget's window begins and ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.runtime.errors import Failure, Kind

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


class ZoneUnknown(Failure):
    kind, reason = Kind.INVALID, "ZONE_UNKNOWN"
    text = "there is no time zone {time_zone}"
    field = "budget.time_zone"


class Window(StrEnum):
    TOTAL = "total"
    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"
    ROLLING_HOUR = "rolling_hour"
    ROLLING_DAY = "rolling_day"
    ROLLING_30_DAYS = "rolling_30_days"


@dataclass(frozen=True, slots=True)
class Rolling:
    """A window that ends now: it is counted in steps, and the step that it begins in counts whole."""

    span: timedelta
    step: timedelta


ROLLING = {
    Window.ROLLING_HOUR: Rolling(timedelta(hours=1), timedelta(minutes=5)),
    Window.ROLLING_DAY: Rolling(timedelta(days=1), timedelta(hours=1)),
    Window.ROLLING_30_DAYS: Rolling(timedelta(days=30), timedelta(days=1)),
}


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; UTC for ''.

    Raises:
        ZoneUnknown: there is none of that name.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneUnknown(time_zone=name) from None


def began(window: Window, now: datetime, time_zone: str) -> datetime:
    """Start of the window that `now` lies in, in UTC; of a rolling one, of its last step."""
    if (rolling := ROLLING.get(window)) is not None:
        return now - (now - BEGINNING) % rolling.step
    match window:
        case Window.TOTAL:
            return BEGINNING
        case Window.MINUTE:
            return now.astimezone(UTC).replace(second=0, microsecond=0)
    local = now.astimezone(zone(time_zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (local.replace(day=1) if window is Window.MONTH else local).astimezone(UTC)


def ends(window: Window, now: datetime, time_zone: str) -> datetime | None:
    """When the window that `now` lies in is over, in UTC; of a rolling one, its last step. None for a total."""
    if (rolling := ROLLING.get(window)) is not None:
        return began(window, now, time_zone) + rolling.step
    match window:
        case Window.TOTAL:
            return None
        case Window.MINUTE:
            return began(window, now, time_zone) + timedelta(minutes=1)
    local = now.astimezone(zone(time_zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    if window is Window.DAY:
        return (local + timedelta(days=1)).astimezone(UTC)
    return (local.replace(day=1) + timedelta(days=32)).replace(day=1).astimezone(UTC)
