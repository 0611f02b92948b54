"""The rules of budgets, without a store."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.books import Budget, Meter, Need, Unit, ancestors, covers, wanted, worst
from services.ledger.prices import Price, PriceBook, PriceUnknown, Tokens
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


@given(granted=AMOUNT, others=AMOUNT, hold=AMOUNT, cost=AMOUNT)
def test_settling_keeps_a_meter_whole(granted: int, others: int, hold: int, cost: int) -> None:
    meter = Meter(granted + others + hold).hold(others).hold(hold)
    after, unleased = meter.settle(hold, cost)
    assert after.held == others and after.granted >= after.held
    assert after.granted + unleased == meter.granted
    assert unleased == min(cost, hold + granted)


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


def test_prices_are_exact_and_rounded_up_once() -> None:
    book = PriceBook({"m": Price(input="0.15", output="0.60", cached_input="0.075")})
    assert book.cost("m", "", "", Tokens(1_000_000, 0), NOW) == 150_000_000
    assert book.cost("m", "", "", Tokens(1, 0), NOW) == 150
    assert book.cost("m", "", "", Tokens(3, 1, cached=1), NOW) == 2 * 150 + 75 + 600
    assert PriceBook({"m": Price("0.0001", "0")}).cost("m", "", "", Tokens(1, 0), NOW) == 1
    assert PriceBook({"m": Price("0.0000000000000001", "0")}).cost("m", "", "", Tokens(1, 0), NOW) == 1


def test_a_machine_of_ones_own_is_paid_by_the_time_that_calls_run() -> None:
    book = PriceBook({"m": Price(hour="3.60"), "both": Price("1", "2", hour="0.36")})
    assert book.cost("m", "local", "", Tokens(10_000, 10_000, compute_ms=1), NOW) == 1_000
    assert book.cost("m", "local", "", Tokens(10_000, 10_000), NOW) == 0
    assert book.cost("both", "", "", Tokens(1, 1, compute_ms=10), NOW) == 1_000 + 2_000 + 1_000


@given(st.decimals(0, 1000, places=9), AMOUNT, st.integers(0, 10**7))
def test_a_price_is_never_rounded_down(price: Decimal, tokens: int, ms: int) -> None:
    rates = PriceBook({"m": Price(str(price), str(price), hour=str(price))}).rates("m", "", "", NOW)
    exact = Fraction(price) * 1000 * tokens + Fraction(price) * 10**9 * ms / 3_600_000
    assert rates is not None and exact <= rates.cost(Tokens(tokens, 0, compute_ms=ms)) < exact + 2


def test_well_known_prices_and_unknown_ones() -> None:
    book = PriceBook({})
    assert book.cost("any", "openai", "gpt-4o-mini", Tokens(1_000_000, 0), NOW) == 150_000_000
    assert book.cost("any", "local", "whatever", Tokens(1000, 1000), NOW) == 0
    with pytest.raises(PriceUnknown):
        book.cost("any", "nobody", "no-such-model", Tokens(1, 1), NOW)


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


def test_a_price_counts_from_its_day_on() -> None:
    book = PriceBook({"m": Price("1", "2"), "m@2026-04-01": Price("3", "4"), "new@2026-04-01": Price("5", "6")})
    before, after = datetime(2026, 3, 31, 23, 59, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    assert book.cost("m", "p", "q", Tokens(1_000_000, 0), before) == 10**9
    assert book.cost("m", "p", "q", Tokens(1_000_000, 0), after) == 3 * 10**9
    assert not book.known("new", "p", "q", before) and book.known("new", "p", "q", after)
    assert PriceBook({"claude@20240229": Price("1", "2")}).known("claude@20240229", "p", "q", before)
    with pytest.raises(ValueError, match="month"):
        PriceBook({"m@2026-13-01": Price("1", "2")})
