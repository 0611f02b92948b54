"""How far an answer is what was expected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.jobs.grading import contains, cosine, exact, fields, has_json, has_number, numeric

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_words() -> None:
    assert exact(" Oslo\n", "Oslo") == 1 and exact("oslo", "Oslo") == 0
    assert exact("oslo", "Oslo", ignore_case=True) == 1
    assert contains("It is Oslo.", "Oslo") == 1 and contains("It is Oslo.", "Bergen") == 0
    assert contains("It is OSLO.", "oslo", ignore_case=True) == 1


@pytest.mark.parametrize(
    ("answer", "expected", "tolerance", "score"),
    [
        ("It is 42.", "42", 0, 1),
        ("First 7, then 1,234.5", "1234.5", 0, 1),
        ("about 99", "100", 0.01, 1),
        ("about 98", "100", 0.01, 0),
        ("-3e2", "-300", 0, 1),
        ("no number", "1", 0, 0),
        ("0.1", ".1", 0, 1),
        ("2", "0", 0.5, 0),
    ],
)
def test_numbers(answer: str, expected: str, tolerance: float, score: float) -> None:
    assert numeric(answer, expected, tolerance) == score
    assert has_number(expected)


def test_json_by_its_fields() -> None:
    meant = json.dumps({"city": "Oslo", "people": {"count": 3, "names": ["Ada", "Bo"]}})
    said = '```json\n{"city": "oslo", "people": {"count": 3, "names": ["Ada"]}, "more": 1}\n```'
    assert fields(said, meant) == 0.5
    assert fields(said, meant, ignore_case=True) == 0.75
    assert fields(f"Here: {meant} - done", meant) == 1
    assert fields("none here", meant) == 0 and not has_json("none here")
    assert fields('{"a": true}', '{"a": 1}') == 0, "true is no number"


@given(VALUES.filter(lambda one: one is not None))
def test_json_is_like_itself(value: object) -> None:
    assert fields(json.dumps(value), json.dumps(value)) == 1


def test_vectors() -> None:
    assert cosine([1, 0], [2, 0]) == 1 and cosine([1, 0], [0, 1]) == 0
    assert cosine([1, 0], [-1, 0]) == 0 and cosine([0, 0], [1, 0]) == 0
