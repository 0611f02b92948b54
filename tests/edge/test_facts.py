"""OpenAI's filters in our words, and back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import Refusal
from services.edge.wire.facts import Filter, filtered, told

TEXTS = st.text(min_size=1, max_size=8)
FACTS = (
    st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne"]), "key": TEXTS, "value": TEXTS})
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["in", "nin"]), "key": TEXTS, "value": st.lists(TEXTS, min_size=2, max_size=4)}
    )
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["gt", "gte", "lt", "lte"]), "key": TEXTS, "value": st.floats(-1e300, 1e300)}
    )
)
FILTERS = st.recursive(
    FACTS,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def put(said: Any) -> pb.Grounding:
    made = pb.Grounding()
    filtered(made, msgspec.convert(said, Filter))
    return made


@given(FILTERS)
def test_a_response_repeats_the_filters_that_were_asked_for(said: dict[str, Any]) -> None:
    made = put(said)
    if made.attributes:
        assert not made.HasField("where")
        return
    assert told(made) == said


def test_equal_values_alone_are_told_as_older_releases_understand_them() -> None:
    year, open_ = {"type": "eq", "key": "year", "value": 2026}, {"type": "eq", "key": "open", "value": True}
    assert put(year) == pb.Grounding(attributes={"year": "2026"})
    both = {"type": "and", "filters": [year, {"type": "and", "filters": [open_, year]}]}
    assert put(both) == pb.Grounding(attributes={"year": "2026", "open": "true"})
    other = put({"type": "and", "filters": [year, {**year, "value": 2027}]})
    assert not other.attributes and len(other.where.all.parts) == 2  # which no document can keep


def test_what_is_said_twice_holds_twice() -> None:
    made = put({"type": "eq", "key": "year", "value": 2026})
    for said in ({"type": "eq", "key": "year", "value": 2027}, {"type": "gt", "key": "year", "value": 1}):
        filtered(made, msgspec.convert(said, Filter))
    assert dict(made.attributes) == {"year": "2026"}
    year, above = made.where.all.parts
    assert list(year.fact.values) == ["2027"] and above.number.gt == 1


def test_how_many_facts_filters_name_is_bounded() -> None:
    fact = {"type": "gt", "key": "a", "value": 1}
    few = {"type": "or", "filters": [{"type": "and", "filters": [fact] * 32}] * 2}
    put(few)
    with pytest.raises(Refusal, match="at most 64"):
        put({"type": "and", "filters": [few, fact]})


def test_how_deep_filters_stand_is_bounded() -> None:
    said: dict[str, Any] = {"type": "ne", "key": "a", "value": "b"}
    for _ in range(7):
        said = {"type": "or", "filters": [said]}
    put(said)
    with pytest.raises(Refusal, match="deep"):
        put({"type": "or", "filters": [said]})
