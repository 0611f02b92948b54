"""The rules of budgets, without a store."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.books import NEAR_END, Budget, Meter, Need, Unit, ancestors, covers, wanted, worst
from services.ledger.windows import Window, ZoneUnknown, began, ends, zone

NOW = datetime(2026, 3, 29, 12, 30, 15, tzinfo=UTC)
AMOUNT = st.integers(0, 10**12)


def test_ancestors_nearest_first() -> None:
    assert ancestors("acme/search/prod") == ("acme/search/prod", "acme/search", "acme")


def test_the_worst_attempt_counts_for_a_budget_that_covers_it() -> None:
    needs = [Need("small", 5, 100), Need("large", 50, 80)]
    assert worst(Budget("a", "b", Unit.NANO_USD, 1), needs) == 50
    assert worst(Budget("a", "b", Unit.TOKENS, 1), needs) == 100
    assert worst(Budget("a", "b", Unit.NANO_USD, 1, model="small"), needs) == 5
    assert worst(Budget("a", "b", Unit.NANO_USD, 1, model="other"), needs) == 0


@given(shortfall=st.integers(1, 10**12), remaining=st.integers(-(10**12), 10**12))
def test_a_lease_is_enough_or_nothing_and_never_more_than_is_left(shortfall: int, remaining: int) -> None:
    got = wanted(shortfall, remaining)
    assert got == 0 if remaining < shortfall else shortfall <= got <= remaining
    assert got in (0, shortfall) or got >= NEAR_END * shortfall
    assert wanted(shortfall, remaining, recalled=True) == (shortfall if got else 0)


@given(granted=AMOUNT, others=AMOUNT, hold=AMOUNT, cost=AMOUNT)
def test_settling_keeps_a_meter_whole(granted: int, others: int, hold: int, cost: int) -> None:
    meter = Meter(granted + others + hold).hold(others).hold(hold)
    after, unleased = meter.settle(hold, cost)
    assert after.held == others and after.granted >= after.held
    assert after.granted + unleased == meter.granted
    assert unleased == min(cost, hold + granted)
    bare, gone = meter.settle(hold, cost, keeps=False)
    assert bare.granted + gone == meter.granted and bare.held == others and gone == max(hold, unleased)


@pytest.mark.parametrize(
    ("window", "start", "over"),
    [
        (Window.MINUTE, "2026-03-29T12:30:00", "2026-03-29T12:31:00"),
        (Window.DAY, "2026-03-28T23:00:00", "2026-03-29T22:00:00"),  # 23 hours: Berlin's clocks go forward
        (Window.MONTH, "2026-02-28T23:00:00", "2026-03-31T22:00:00"),
    ],
)
def test_windows_follow_the_time_zone(window: Window, start: str, over: str) -> None:
    assert began(window, NOW, "Europe/Berlin").isoformat() == f"{start}+00:00"
    found = ends(window, NOW, "Europe/Berlin")
    assert found is not None and found.isoformat() == f"{over}+00:00"


def test_a_total_never_ends_and_a_zone_must_exist() -> None:
    assert ends(Window.TOTAL, NOW, "") is None
    with pytest.raises(ZoneUnknown):
        zone("Atlantis/Capital")


def test_rolling_windows_go_by_steps() -> None:
    now = datetime(2026, 3, 1, 12, 7, 30, tzinfo=UTC)
    assert began(Window.ROLLING_HOUR, now, "") == datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    assert began(Window.ROLLING_DAY, now, "Asia/Tokyo") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert began(Window.ROLLING_30_DAYS, now, "") == datetime(2026, 3, 1, tzinfo=UTC)
    assert ends(Window.ROLLING_HOUR, now, "") == datetime(2026, 3, 1, 12, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "model", "covered"),
    [("", "x", True), ("x", "x", True), ("x", "xy", False), ("x*", "xy", True), ("*y", "xy", True), ("a.*", "abc", False),
     ("*", "", True), ("x*z", "xyz", True), ("x*z", "xyzw", False)],
)  # fmt: skip
def test_a_class_of_models_is_a_pattern(pattern: str, model: str, covered: bool) -> None:
    assert covers(pattern, model) is covered
