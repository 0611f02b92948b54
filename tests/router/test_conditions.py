"""Conditions of routes: what holds, what does not and why, and what nobody knows before a transformer was asked."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.conditions import All, Any_, Like, None_, Seen, compiled, likes
from services.router.predictor import Prediction
from services.router.ranking import Needs
from services.router.when import When, looked_at


def seen(text: str = "", *, metadata: Mapping[str, str] | None = None, **more: Any) -> Seen:
    facts: dict[str, Any] = {"prediction": None, "needs": Needs(), "data_class": "", "account": "acme/search", **more}
    return Seen(text, metadata=metadata or {}, **facts)


@pytest.mark.parametrize(
    ("words", "text", "holds"),
    [
        (("tax return",), "Is my Tax  Return late?", True),
        (("tax",), "I take a taxi", False),
        (("tax",), "(tax)", True),
        (("tax", "loan"), "a loan", True),
        (("größe",), "Welche GRÖSSE? Die Größe!", True),
        (("c++",), "write C++, please", True),
        (("合同",), "请看这份合同吧", True),
        (("a.b",), "axb", False),
        (("tax",), "", False),
    ],
)
def test_words_are_whole_large_or_small(words: tuple[str, ...], text: str, holds: bool) -> None:
    assert compiled(When(words=words)).holds(seen(text)) is holds


@pytest.mark.parametrize(
    ("when", "facts"),
    [
        (When(patterns=(r"TICKET-\d+", "^never")), {"text": "see TICKET-12"}),
        (When(metadata={"tier": ("gold", "platinum")}), {"metadata": {"tier": "gold"}}),
        (When(metadata={"tier": ("*",)}), {"metadata": {"tier": ""}}),
        (When(accounts=("acme",)), {}),
        (When(accounts=("other", "acme/search")), {}),
        (When(data_classes=("restricted",)), {"data_class": "restricted"}),
        (When(needs=("vision", "tools")), {"needs": Needs(tools=True)}),
        (When(tokens_from=100, tokens_to=200), {"needs": Needs(input_tokens=600)}),
        (When(tasks=("code",)), {"prediction": Prediction(0.5, 0.9, "code")}),
        (When(harder_than=0.4), {"prediction": Prediction(0.5, 0.9, "")}),
        (When(easier_than=0.6), {"prediction": Prediction(0.5, 0.9, "")}),
        (When(languages=("de",)), {"text": "Wie lange dauert die Lieferung nach Hamburg?"}),
        (When(), {}),
    ],
)
def test_facts(when: When, facts: dict[str, Any]) -> None:
    assert compiled(when).holds(seen(**facts)) is True
    assert compiled(When(none=(when,))).holds(seen(**facts)) is False


@pytest.mark.parametrize(
    ("when", "facts", "why"),
    [
        (When(words=("tax",)), {"text": "hello"}, "words: none is there"),
        (When(metadata={"tier": ("gold",)}), {"metadata": {"tier": "free"}}, "metadata.tier: free"),
        (When(metadata={"tier": ("*",)}), {}, "metadata.tier: not there"),
        (When(accounts=("acm",)), {}, "accounts: acme/search"),
        (When(needs=("vision",)), {"needs": Needs(tools=True)}, "needs: tools"),
        (When(tokens_from=100), {"needs": Needs(input_tokens=396)}, "tokens: 99"),
        (When(tokens_to=100), {"needs": Needs(input_tokens=404)}, "tokens: 101"),
        (When(tasks=("code",)), {}, "tasks: nobody can tell"),
        (When(harder_than=0.5), {"prediction": Prediction(0.5, 0.9, "")}, "harder_than: 0.50"),
        (When(easier_than=0.9), {}, "easier_than: 0.00"),
        (When(languages=("de",)), {"text": "ok"}, "languages: nobody can tell"),
        (When(any=(When(words=("a",)), When(tasks=("code",)))), {"text": "b"}, "any: words: none is there, nor tasks: nobody can tell"),
        (When(none=(When(),)), {}, "none: one of them holds"),
    ],
)  # fmt: skip
def test_why_it_does_not_hold(when: When, facts: dict[str, Any], why: str) -> None:
    made = compiled(when)
    assert made.holds(seen(**facts)) is False and made.why_not(seen(**facts)) == why


def test_all_that_is_said_must_hold() -> None:
    made = compiled(When(words=("tax",), metadata={"tier": ("gold",)}, all=(When(words=("late",)),)))
    assert made.holds(seen("my tax is late", metadata={"tier": "gold"})) is True
    assert made.holds(seen("my tax", metadata={"tier": "gold"})) is False
    assert made.holds(seen("my tax is late")) is False


def test_a_transformer_is_asked_only_where_nothing_cheaper_decides() -> None:
    law = When(subjects=("law",))
    assert compiled(law).holds(seen("Can I sue?")) is None
    assert compiled(law).holds(seen("")) is False  # nothing to read
    assert compiled(When(subjects=("law",), words=("tax",))).holds(seen("Can I sue?")) is False
    assert compiled(When(any=(law, When(words=("sue",))))).holds(seen("Can I sue?")) is True
    assert compiled(When(none=(law,))).holds(seen("Can I sue?")) is None
    told = seen("Can I sue?", met=True, subject=("law", 0.8))
    assert compiled(law).holds(told) is True and compiled(When(none=(law,))).holds(told) is False
    away = seen("Can I sue?", met=True)
    assert compiled(law).holds(away) is False and compiled(law).why_not(away) == "subjects: nobody can tell"
    other = seen("Can I sue?", met=True, subject=("math", 0.5))
    assert compiled(law).why_not(other) == "subjects: math, at 0.50"


def test_likeness_to_examples() -> None:
    made = compiled(When(like=("a", "b"), unlike=("c",), near=0.8))
    (like,) = likes(compiled(When(none=(When(any=(When(like=("a",)),)),))))
    assert like.examples == ("a",)
    (like,) = likes(made)
    text = seen("x")
    assert made.holds(text) is False  # no vectors yet: nobody is asked
    like.vectors = np.eye(3, 4, dtype=np.float32)
    assert made.holds(text) is None
    text.met = True
    assert made.holds(text) is False and made.why_not(text) == "like: 0.00, below 0.8"
    text.meaning = np.array([0, 0.9, 0.3, 0], np.float32)
    assert made.holds(text) is True
    text.meaning = np.array([0, 0.9, 0.95, 0], np.float32)
    assert made.holds(text) is False  # what it is unlike is nearer
    text.meaning = np.array([0.7, 0, 0, 0], np.float32)
    assert made.holds(text) is False and made.why_not(text) == "like: 0.70, below 0.8"


class Known:
    def __init__(self, holds: bool | None) -> None:
        self.value = holds

    def holds(self, seen: Seen) -> bool | None:
        return self.value

    def why_not(self, seen: Seen) -> str:
        return ""


THREE = st.sampled_from([True, False, None])


@given(st.lists(THREE, max_size=4))
def test_what_is_not_known_could_be_either(values: list[bool | None]) -> None:
    """Kleene's logic: a verdict stands for every way in which the unknown may turn out."""
    ways = list(product(*[(True, False) if one is None else (one,) for one in values]))
    for made, of in ((All, all), (Any_, any)):
        verdicts = {of(way) for way in ways}
        expected = verdicts.pop() if len(verdicts) == 1 else None
        assert made([Known(one) for one in values]).holds(seen()) is expected
    inner = Any_([Known(one) for one in values])
    holds = inner.holds(seen())
    assert None_(inner).holds(seen()) is (None if holds is None else not holds)


def test_what_is_looked_at_beside_the_conversation() -> None:
    inner = When(metadata={"b": ("1",)}, none=(When(accounts=("acme",)),))
    assert looked_at(When(metadata={"a": ("1",)}, any=(inner,))) == (frozenset("ab"), True)
    assert looked_at(When(words=("tax",), subjects=("law",))) == (frozenset(), False)


def test_an_example_alone_has_a_vector() -> None:
    like = Like(("a",), (), 0.5, np.eye(1, 4, dtype=np.float32))
    assert like.nearness(seen("x", met=True, meaning=np.array([0.6, 0, 0, 0], np.float32))) == pytest.approx(0.6)
