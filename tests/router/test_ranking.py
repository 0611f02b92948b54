"""The ranking: who may answer, in which order, and why the others may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.decisions import Decision, Decisions
from services.router.features import NAMES, features
from services.router.predictor import Predictor
from services.router.ranking import Model, Needs, NoCandidate, Rule, draw, rank
from tests.support.encoders import static


def model(name: str, ability: float = 0.5, price: int = 1_000_000, **more: object) -> Model:
    facts: dict[str, object] = {
        "provider": "p", "provider_model": name, "context_tokens": 8000, "max_output_tokens": 1000, "tools": True,
        "vision": False, "json_schema": True, "input_price": price, "output_price": price,
    }  # fmt: skip
    return Model(name=name, ability=ability, **{**facts, **more})  # type: ignore[arg-type]


WEAK, STRONG = model("weak", 0.0, 1_000_000), model("strong", 1.0, 50_000_000)
NEEDS = Needs(input_tokens=400)


def order(
    models: list[Model], needs: Needs = NEEDS, rule: Rule = Rule.CHEAPEST_ABOVE, floor: float = 0.95, ceiling: int = 0
) -> list[str]:
    return [one.model.name for one in rank(models, needs, rule, floor, ceiling, None).candidates]


def test_the_cheapest_that_is_good_enough_comes_first() -> None:
    assert order([STRONG, WEAK], floor=0.8) == ["weak", "strong"]
    assert order([STRONG, WEAK], floor=0.99) == ["strong", "weak"]
    assert order([STRONG, WEAK], rule=Rule.BEST_UNDER_PRICE) == ["strong", "weak"]


def test_the_fastest_of_the_good_comes_first() -> None:
    slow, quick = model("slow", 1.0, latency_s=2.0), model("quick", 1.0, latency_s=0.2)
    assert order([slow, quick, model("new", 1.0)], rule=Rule.FASTEST) == ["quick", "new", "slow"]


def test_a_sick_model_comes_after_every_healthy_one() -> None:
    sick = model("sick", 1.0, 1, available=False)
    failing = model("failing", 1.0, 1, error_rate=0.9)
    assert order([sick, failing, WEAK])[0] == "weak"


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        (Needs(vision=True), "does not see pictures"),
        (Needs(max_output_tokens=5000), "writes at most 1000 tokens"),
        (Needs(input_tokens=80_000), "holds 8000 tokens"),
    ],
)
def test_who_cannot_is_left_out_with_the_reason(needs: Needs, why: str) -> None:
    able = model("able", vision=True, context_tokens=100_000, max_output_tokens=9000)
    made = rank([WEAK, able], needs, Rule.CHEAPEST_ABOVE, 0.9, 0, None)
    assert [one.model.name for one in made.candidates] == ["able"] and dict(made.rejected) == {"weak": why}
    with pytest.raises(NoCandidate, match=why):
        rank([WEAK], needs, Rule.CHEAPEST_ABOVE, 0.9, 0, None)


def test_a_ceiling_leaves_out_what_is_dearer() -> None:
    cheap = rank([WEAK, STRONG], NEEDS, Rule.BEST_UNDER_PRICE, 0.9, 2000, None)
    assert [one.model.name for one in cheap.candidates] == ["weak"] and "above 2000" in dict(cheap.rejected)["strong"]


def test_a_drawn_model_stands_first_where_it_can() -> None:
    made = rank([WEAK, STRONG], NEEDS, Rule.CHEAPEST_ABOVE, 0.5, 0, None, drawn="strong")
    assert made.candidates[0].model.name == "strong"


@given(st.floats(0, 0.999))
def test_draws_follow_their_shares(at: float) -> None:
    name = draw({"a": 0.2, "b": 0.3}, lambda: at)
    assert name == ("a" if at < 0.2 else "b" if at < 0.5 else "")


@given(
    st.lists(st.tuples(st.floats(-1, 2), st.integers(0, 10**9), st.booleans()), min_size=1, max_size=8),
    st.sampled_from(list(Rule)),
)
def test_every_able_model_is_ranked_once(specs: list[tuple[float, int, bool]], rule: Rule) -> None:
    models = [model(f"m{n}", ability, price, available=good) for n, (ability, price, good) in enumerate(specs)]
    assert sorted(order(models, rule=rule)) == sorted(one.name for one in models)


def test_a_hard_question_wants_the_strong_model_more_than_an_easy_one() -> None:
    predictor = Predictor()
    easy = "What is the capital of France?"
    hard = (
        "Let G be a finite group of order 56. Which of the following statements must be true?\n"
        "A. G is abelian\nB. G has a normal Sylow subgroup\nC. G is simple\nD. G has exactly 8 Sylow 7-subgroups"
    )
    gaps = []
    for text in (easy, hard):
        made = predictor.predict(text, static().encode(text))
        assert 0 <= made.chance(0.0) <= 1 and made.chance(1.0) >= made.chance(0.0)
        gaps.append(made.chance(1.0) - made.chance(0.0))
    assert gaps[1] > gaps[0]


@given(st.text(max_size=500))
def test_any_text_has_features(text: str) -> None:
    made = features(text)
    assert len(made) == len(NAMES) and all(value == value and abs(value) < 1e6 for value in made)


def test_outcomes_move_a_models_ability_for_that_tenant_alone() -> None:
    decisions = Decisions()
    for _ in range(40):
        one = decisions.keep(Decision("acme", None, {"weak": 0.0}))
        assert decisions.learn(one, "acme", "weak", True)
        assert not decisions.learn(one, "other", "weak", False) and not decisions.learn("nothing", "acme", "weak", True)
    assert decisions.ability("acme", "weak", 0.0) > 0.1 and decisions.ability("other", "weak", 0.0) == 0.0
