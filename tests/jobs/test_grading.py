"""How far an answer is what was expected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.jobs.grading import (
    contains,
    cosine,
    exact,
    fields,
    fits,
    found,
    has_json,
    has_number,
    judged,
    numeric,
    pattern_fault,
    schema_fault,
)

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


def test_patterns_and_schemas() -> None:
    assert (
        found("It is Oslo.", r"\bOslo\b") == 1
        and found("oslo", "Oslo") == 0
        and found("oslo", "Oslo", ignore_case=True) == 1
    )
    schema = json.dumps({"type": "object", "required": ["city"], "properties": {"people": {"type": "integer"}}})
    assert fits('```json\n{"city": "Oslo", "people": 3}\n```', schema) == 1
    assert fits('{"city": "Oslo", "people": "three"}', schema) == 0 and fits("no JSON", schema) == 0
    assert "missing" in pattern_fault("(a") and pattern_fault("") and not pattern_fault("a+")
    assert schema_fault('{"type": "nothing"}') and schema_fault("{") and not schema_fault(schema)


@pytest.mark.parametrize(
    ("said", "grade"), [("8", 0.8), ("Grade: 10 of 10", 1.0), ("0", 0.0), ("none", None), ("11", None), ("-1", None)]
)
def test_a_judges_words(said: str, grade: float | None) -> None:
    assert judged(said) == grade
