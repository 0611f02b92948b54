"""Loops and spikes, told from a key's last minutes."""

import numpy as np
import pytest

from services.ledger.safeguards import THROTTLED_S, Loop, Safeguard, Spike, Watch, nearest

LOOP = Safeguard("acme", loop=Loop(likeness=0.95, most=10, within_s=60))
SPIKE = Safeguard("acme", spike=Spike(times=5, least=100))


def prompt(random: np.random.Generator, near: "np.ndarray | None" = None) -> bytes:
    made = random.normal(size=256)
    if near is not None:
        made = near + 0.1 * made * np.linalg.norm(near) / np.linalg.norm(made)
    return made.astype(np.float32).tobytes()


def test_a_loop_is_seen_as_soon_as_there_is_one_too_many() -> None:
    random, watch = np.random.default_rng(1), Watch()
    base = random.normal(size=256)
    for n in range(10):
        assert not watch.asks("k", LOOP, prompt(random, base), 0, float(n))
    (seen,) = watch.asks("k", LOOP, prompt(random, base), 0, 10.0)
    assert seen.kind == "loop"
    assert not watch.asks("k", LOOP, prompt(random), 0, 10.0), "another prompt is none of it"
    assert not watch.asks("other", LOOP, prompt(random, base), 0, 10.0), "nor is another key"
    assert not watch.asks("k", LOOP, prompt(random, base), 0, 75.0), "nor what is long ago"


def test_busy_is_not_looping() -> None:
    random, watch = np.random.default_rng(2), Watch()
    assert not any(watch.asks("k", LOOP, prompt(random), 0, n / 100) for n in range(2000))


def test_a_spike_is_seen_within_its_minute_and_only_after_a_history() -> None:
    watch = Watch()
    for minute in range(12):
        for second in range(0, 60, 6):
            cost = 20 if minute else 400  # nobody knows yet what is usual
            assert not watch.asks("k", SPIKE, b"", cost, minute * 60.0 + second), (minute, second)
    spent = 0
    for second in range(60):
        spent += 200
        if seen := watch.asks("k", SPIKE, b"", 200, 12 * 60.0 + second):
            break
    assert seen and seen[0].kind == "spike" and spent < 6 * 600


def test_days_that_differ_by_half_are_no_spike() -> None:
    random, watch = np.random.default_rng(3), Watch()
    seen = [
        watch.asks("k", SPIKE, b"", int(random.lognormal(4, 0.5)), minute * 60.0 + second)
        for minute in range(600)
        for second in range(0, 60, 10)
    ]
    assert not any(seen)


@pytest.mark.parametrize("now", [0.0, 1e9])
def test_a_key_that_is_slowed_down_is_let_through_now_and_then(now: float) -> None:
    watch = Watch()
    assert watch.let_through("k", now) == 0
    assert watch.let_through("k", now + 3) == pytest.approx(THROTTLED_S - 3)
    assert watch.let_through("k", now + THROTTLED_S) == 0


def test_the_nearest_safeguard_counts() -> None:
    guards = {one.account: one for one in (LOOP, Safeguard("acme/a"))}
    assert nearest(guards, "acme/a/b") == Safeguard("acme/a") and nearest(guards, "acme/b") == LOOP
    assert nearest(guards, "other") is None and nearest({}, "acme") is None
