"""How many calls go where, and whose: no tenant, no burst and no hanging model takes all the places."""

from hypothesis import given
from hypothesis import strategies as st

from services.models.allowance import LONGEST_S, Allowance
from services.models.limits import Limit, Priority


def test_the_less_it_matters_the_sooner_it_is_refused() -> None:
    limit = Limit(100)
    for n in range(100):
        tenant = f"t{n}"
        assert limit.admits(tenant, Priority.LOW) == (n < 60), n
        assert limit.admits("t0", Priority.NORMAL) == (n < 90), n
        assert limit.admits("t0", Priority.HIGH)
        limit.begin("t0")
    assert not any(limit.admits("another", one) for one in Priority)


def test_a_tenant_whose_calls_hang_leaves_room_for_the_next() -> None:
    limit = Limit(20)
    while limit.admits("hangs", Priority.NORMAL):
        limit.begin("hangs")
    assert limit.under_way == 18
    assert limit.admits("next", Priority.NORMAL)
    limit.begin("next")
    assert limit.admits("next", Priority.NORMAL) and not limit.admits("hangs", Priority.NORMAL)


def test_load_shrinks_the_limit_once_a_burst_and_success_grows_it_again() -> None:
    limit = Limit(100)
    numbers = [limit.begin("t") for _ in range(80)]
    for number in numbers:  # one overload, seen by all that were under way
        limit.overloaded(number)
    assert limit.now == 80 * 0.7
    for _ in numbers:
        limit.end("t")
    assert not limit.held
    while limit.now < 57:
        for _ in range(50):
            limit.begin("t")
        limit.succeeded()
        for _ in range(50):
            limit.end("t")
    limit.overloaded(limit.begin("t"))
    assert limit.now == 1.0  # it failed with one call under way


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["begin", "end", "load", "good"])), max_size=200))
def test_counts_never_drift(steps: list[tuple[int, str]]) -> None:
    limit, open_calls = Limit(8), list[tuple[str, int]]()
    for who, what in steps:
        tenant = f"t{who}"
        if what == "begin" and limit.admits(tenant, Priority.NORMAL):
            open_calls.append((tenant, limit.begin(tenant)))
        elif what == "end" and open_calls:
            limit.end(open_calls.pop(who % len(open_calls))[0])
        elif what == "load" and open_calls:
            limit.overloaded(open_calls[-1][1])
        elif what == "good":
            limit.succeeded()
        assert limit.under_way == len(open_calls) == limit.held.total() <= limit.most
        assert 1.0 <= limit.now <= limit.most and 0.0 <= limit.saturation <= 1.0


def test_rate_limit_headers_are_heeded_before_the_provider_refuses() -> None:
    allowance = Allowance()
    assert allowance.wait_s(10, 0.0) == 0.0
    allowance.heard({"x-ratelimit-remaining-requests": "2", "x-ratelimit-reset-requests": "1m30s",
                     "x-ratelimit-remaining-tokens": "500", "x-ratelimit-reset-tokens": "250ms"}, 0.0, 0.0)  # fmt: skip
    assert allowance.wait_s(600, 0.0) == 0.25 and allowance.wait_s(400, 0.0) == 0.0
    allowance.begin(400)
    assert allowance.wait_s(400, 0.0) == 0.25  # its answer is not here, but its tokens are gone
    allowance.begin(10)
    assert allowance.wait_s(1, 0.0) == LONGEST_S and allowance.wait_s(1, LONGEST_S) == 0.0


def test_anthropics_headers_name_a_time_of_day() -> None:
    allowance = Allowance()
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:12Z",
    }
    allowance.heard(headers, 100.0, 2.0)
    assert allowance.wait_s(1, 100.0) == 10.0


def test_headers_of_another_form_are_passed_over() -> None:
    allowance = Allowance()
    allowance.heard({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "soon"}, 0.0, 0.0)
    assert allowance.wait_s(1, 0.0) == 0.0
