"""What a month will have cost: as often within its interval as it says, whatever the days are like."""

from datetime import date, timedelta

import numpy as np
import pytest

from services.ledger.forecast import forecast

TODAY = date(2026, 4, 16)


def days(count: int, spend: int = 100) -> dict[date, int]:
    return {TODAY - timedelta(days=n): spend for n in range(1, count + 1)}


def test_even_days_leave_no_doubt() -> None:
    made = forecast(1500, days(28), TODAY - timedelta(days=28), TODAY, 0.5)
    assert made.expected == made.low == made.high == 1500 + 50 + 14 * 100 and made.days == 28


def test_weekends_are_no_working_days() -> None:
    past = {day: 0 if day.weekday() >= 5 else 100 for day in days(28)}
    made = forecast(0, past, min(past), TODAY, 1.0)
    assert made.low == made.high == made.expected == 11 * 100  # from Thursday 16 to Thursday 30: 11 working days


def test_without_a_day_there_is_only_what_was_spent() -> None:
    made = forecast(7, {}, TODAY, TODAY, 0.3)
    assert (made.expected, made.low, made.high, made.days) == (7, 7, 7, 0)


@pytest.mark.parametrize("shape", [0.4, 1.0])
def test_the_interval_holds_as_often_as_it_says(shape: float) -> None:
    """Eight of ten by its name. Four weeks tell little of days with heavy tails, so somewhat less often there."""
    random = np.random.default_rng(7)
    inside = 0
    for _ in range(200):
        drawn = random.lognormal(5, shape, 28 + 15)
        past = {TODAY - timedelta(days=n + 1): int(drawn[n]) for n in range(28)}
        made = forecast(0, past, min(past), TODAY, 1.0)
        inside += made.low <= drawn[28:].sum() <= made.high
    assert 0.65 <= inside / 200 <= 0.95, inside
