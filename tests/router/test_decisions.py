"""Ids of decisions: read by whoever has the key, of their own tenant, for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.decisions import KNOWN_S, NAMED, Decision, DecisionUnknown, Ids
from services.router.predictor import Prediction
from tests.router.test_ranking import WEAK

chances = st.floats(0.01, 0.99)
predictions = st.none() | st.builds(Prediction, chances, chances, st.sampled_from(NAMED))
decisions = st.builds(Decision, predictions, st.none() | st.floats(0, 1))


@given(decisions, st.text(min_size=1, max_size=40))
def test_another_replica_reads_what_a_decision_rested_on(made: Decision, tenant: str) -> None:
    one = Ids("shared").of(made, tenant)
    read = Ids("shared").read(one, tenant)
    assert len(one) == 36 and (read.prediction is None) == (made.prediction is None)
    assert read.expected.task == made.expected.task
    assert read.enough == (None if made.enough is None else pytest.approx(made.enough, abs=1e-4))
    for ability in (0.0, 1.0):
        assert read.chance(WEAK, ability) == pytest.approx(made.chance(WEAK, ability), abs=1e-3)


@given(decisions, st.integers(0, 35), st.sampled_from("ABab01-_"))
def test_an_id_that_was_altered_is_none(made: Decision, place: int, letter: str) -> None:
    ids = Ids("shared")
    one = ids.of(made, "acme")
    altered = one[:place] + letter + one[place + 1 :]
    if altered != one:
        with pytest.raises(DecisionUnknown):
            ids.read(altered, "acme")


@given(st.text(max_size=64))
def test_any_other_text_is_none(text: str) -> None:
    with pytest.raises(DecisionUnknown):
        Ids("shared").read(text, "acme")


def test_ids_are_of_one_tenant_one_key_and_a_while() -> None:
    clock = [0.0]
    ids = Ids("shared", lambda: clock[0])
    one = ids.of(Decision(None), "acme")
    for reader, tenant in ((ids, "other"), (Ids("another"), "acme"), (Ids(), "acme")):
        with pytest.raises(DecisionUnknown):
            reader.read(one, tenant)
    clock[0] = KNOWN_S
    assert ids.read(one, "acme") == Decision(None)
    clock[0] = KNOWN_S + 1.0
    with pytest.raises(DecisionUnknown):
        ids.read(one, "acme")


def test_no_two_ids_are_alike() -> None:
    replicas = [Ids("shared"), Ids("shared")]
    assert len({ids.of(Decision(None), "acme") for ids in replicas for _ in range(1000)}) == 2000
