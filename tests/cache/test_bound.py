"""The share of wrong answers stays under its bound, whatever the verifier believes of itself."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cache.bound import Bound, Bounds


def lived(
    chance: random.Random, honesty: float, limit: float, lookups: int, reports: float
) -> tuple[Bound, float, float]:
    """A tenant's look-ups whose hits are wrong `honesty` times as often as they say; the shares right and wrong."""
    bound, right, wrong = Bound(limit, 0.9), 0, 0
    for _ in range(lookups):
        said = 1 - min(0.9, chance.expovariate(8)) if chance.random() < 0.8 else None
        served = said is not None and said >= bound.threshold()
        bound.looked_up(said, served)
        if said is None or not served:
            continue
        good = chance.random() >= min(1.0, (1 - said) * honesty)
        right, wrong = right + good, wrong + (not good)
        if chance.random() < reports:
            bound.reported(said, good)
    return bound, right / lookups, wrong / lookups


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 30), honesty=st.sampled_from([0.3, 1.0, 3.0]), limit=st.sampled_from([0.005, 0.01, 0.03])
)
def test_reports_keep_the_bound(seed: int, honesty: float, limit: float) -> None:
    _, _, wrong = lived(random.Random(seed), honesty, limit, 6000, 1.0)
    assert wrong <= 1.5 * limit


def test_without_reports_the_chances_are_believed() -> None:
    bound, _, wrong = lived(random.Random(1), 1.0, 0.01, 8000, 0.0)
    assert bound.excess == 1.0 and 0.005 <= wrong <= 0.013


def test_a_cautious_verifier_is_trusted_with_more() -> None:
    _, believed, _ = lived(random.Random(1), 0.3, 0.01, 8000, 0.0)
    bound, learnt, wrong = lived(random.Random(1), 0.3, 0.01, 8000, 1.0)
    assert learnt > believed and wrong <= 0.013 and bound.excess < 0.5


def test_a_higher_bound_serves_more() -> None:
    assert lived(random.Random(2), 1.0, 0.03, 4000, 1.0)[1] > lived(random.Random(2), 1.0, 0.005, 4000, 1.0)[1]


def test_tenants_have_bounds_of_their_own() -> None:
    bounds = Bounds(0.01, 0.9, {"strict": 0.001})
    assert (bounds.of("any").limit, bounds.of("strict").limit) == (0.01, 0.001)
    bounds.of("any").looked_up(0.5)
    assert bounds.of("other").lookups == 0 and bounds.of("any").lookups == 1
