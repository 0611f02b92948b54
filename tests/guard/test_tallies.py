"""Counts by the hour: of the tenant that asks, of a week at most."""

from hypothesis import given
from hypothesis import strategies as st

from services.guard.rules import Action
from services.guard.tallies import HOUR_S, KEPT_HOURS, Seen, Tallies

MAIL = Seen("acme", "EMAIL", Action.MASK, Action.MASK)
OTHER = Seen("globex", "EMAIL", Action.MASK, Action.MASK)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60), st.integers(1, KEPT_HOURS))
def test_what_the_hours_hold_is_what_was_counted_in_them(steps: list[tuple[int, bool]], hours: int) -> None:
    at, told = [1_000_000.0 * HOUR_S], list[tuple[int, Seen]]()
    tallies = Tallies(lambda: at[0])
    for later, ours in steps:
        at[0] += later * HOUR_S / 2
        told.append((int(at[0]) // HOUR_S, MAIL if ours else OTHER))
        tallies.add(told[-1][1])
    first = int(at[0]) // HOUR_S - hours + 1
    wanted = [(hour * HOUR_S, one) for hour, one in told if hour >= first and one.tenant == "acme"]
    found = [(hour, one) for hour, one, n in tallies.since(hours, "acme") for _ in range(n)]
    assert sorted(found) == sorted(wanted)
    assert sum(n for *_, n in tallies.since(hours, "")) == sum(hour >= first for hour, _ in told)


def test_an_hour_holds_so_many_kinds_and_no_more() -> None:
    tallies = Tallies(lambda: 0.0)
    for n in range(30_000):
        tallies.add(Seen(f"t{n}", "", Action.ALLOW, Action.ALLOW))
    assert len(list(tallies.since(1, ""))) == 20_000
