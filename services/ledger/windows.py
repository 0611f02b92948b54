"""When a budget's window begins and ends."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.runtime.errors import Failure, Kind

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class ZoneUnknown(Failure):
    kind, reason = Kind.INVALID, "ZONE_UNKNOWN"
    text = "there is no time zone {time_zone}"
    field = "budget.time_zone"


class Window(StrEnum):
    TOTAL = "total"
    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"


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
    """Start of the window that `now` lies in, in UTC."""
    match window:
        case Window.TOTAL:
            return BEGINNING
        case Window.MINUTE:
            return now.astimezone(UTC).replace(second=0, microsecond=0)
    local = now.astimezone(zone(time_zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (local.replace(day=1) if window is Window.MONTH else local).astimezone(UTC)


def ends(window: Window, now: datetime, time_zone: str) -> datetime | None:
    """When the window that `now` lies in is over, in UTC; None for a total."""
    match window:
        case Window.TOTAL:
            return None
        case Window.MINUTE:
            return began(window, now, time_zone) + timedelta(minutes=1)
    local = now.astimezone(zone(time_zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    if window is Window.DAY:
        return (local + timedelta(days=1)).astimezone(UTC)
    return (local.replace(day=1) + timedelta(days=32)).replace(day=1).astimezone(UTC)
