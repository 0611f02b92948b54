"""A deployment's breaker, and what it remembers of how long things take. No clock but the test's."""

from services.models.health import COOL_S, ENOUGH, OPENS_AFTER, PROBED_S, Health


def test_a_breaker_opens_cools_probes_and_closes() -> None:
    clock = [0.0]
    health = Health(now=lambda: clock[0])
    for _ in range(OPENS_AFTER):
        assert health.available
        health.failed()
    assert not health.available
    clock[0] = COOL_S
    assert health.available
    began = health.begin()
    assert not health.available  # one probe at a time
    health.failed()
    health.end()
    clock[0] += COOL_S
    assert not health.available  # it cools for longer each time
    clock[0] += COOL_S
    began = health.begin()
    health.answered(began)
    health.end()
    assert health.available and health.error_rate > 0


def test_a_provider_that_says_when_is_left_alone_until_then() -> None:
    clock = [0.0]
    health = Health(now=lambda: clock[0])
    health.failed(7.0)
    assert not health.available and health.busy_for_s == 7.0
    clock[0] = 7.0
    assert health.available and health.busy_for_s == 0.0


def test_what_is_slow_is_known_once_enough_was_seen() -> None:
    clock = [0.0]
    health = Health(now=lambda: clock[0])
    for n in range(ENOUGH):
        assert health.slow_s is None
        began = health.begin()
        clock[0] += 1.0 + n / 100
        health.answered(began)
    assert health.slow_s is not None and 1.15 < health.slow_s < 1.2


def test_who_comes_while_a_busy_provider_is_tried_again_hears_that_it_is_busy() -> None:
    clock = [0.0]
    health = Health(now=lambda: clock[0])
    health.failed(7.0)
    clock[0] = 7.0
    assert health.available
    health.begin()  # one call looks whether it is over
    assert not health.available and health.busy_for_s == PROBED_S
    health.failed()  # broken, this time: that is another reason
    clock[0] += COOL_S
    began = health.begin()
    assert not health.available and health.busy_for_s == 0.0
    health.answered(began)
    assert health.available and health.busy_for_s == 0.0
