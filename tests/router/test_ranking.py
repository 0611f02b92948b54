"""The ranking: who may answer, in which order, and why the others may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.features import NAMES, features
from services.router.policy import Only, Rule, Terms, draw, place
from services.router.predictor import Prediction, Predictor
from services.router.ranking import Model, Needs, NoCandidate, rank
from services.router.ranking import Ranking as Ranked
from tests.support.encoders import static


def model(name: str, ability: float = 0.5, price: int = 1_000_000, **more: object) -> Model:
    facts: dict[str, object] = {
        "provider": "p", "provider_model": name, "context_tokens": 8000, "max_output_tokens": 1000, "tools": True,
        "vision": False, "json_schema": True, "input_price": price, "output_price": price,
    }  # fmt: skip
    return Model(name=name, ability=ability, **{**facts, **more})  # type: ignore[arg-type]


WEAK, STRONG = model("weak", 0.0, 1_000_000), model("strong", 1.0, 50_000_000)
NEEDS = Needs(input_tokens=400)


def ranked(models: list[Model], needs: Needs = NEEDS, **terms: object) -> Ranked:
    return rank([(one, one.ability) for one in models], needs, Terms(**terms), None)  # type: ignore[arg-type]


def order(models: list[Model], needs: Needs = NEEDS, **terms: object) -> list[str]:
    return [one.model.name for one in ranked(models, needs, **terms).candidates]


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
    full = model("full", 1.0, 1, saturation=0.99)
    assert order([sick, failing, full, WEAK])[0] == "weak"


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        (Needs(vision=True), "does not see pictures"),
        (Needs(web_search=True), "does not search the web"),
        (Needs(max_output_tokens=5000), "writes at most 1000 tokens"),
        (Needs(input_tokens=80_000), "holds 8000 tokens"),
    ],
)
def test_who_cannot_is_left_out_with_the_reason(needs: Needs, why: str) -> None:
    able = model("able", vision=True, web_search=True, context_tokens=100_000, max_output_tokens=9000)
    made = ranked([WEAK, able], needs)
    assert [one.model.name for one in made.candidates] == ["able"] and dict(made.rejected) == {"weak": why}
    if needs.max_output_tokens:  # a limit, which nobody reaches
        assert [one.model.name for one in ranked([WEAK], needs).candidates] == ["weak"]
        return
    with pytest.raises(NoCandidate, match=why):
        ranked([WEAK], needs)


def test_where_nobody_writes_so_much_those_who_write_most_do() -> None:
    needs = Needs(vision=True, max_output_tokens=32_000)
    short, long, blind = (
        model("short", vision=True, max_output_tokens=500),
        model("long", vision=True, max_output_tokens=2_000),
        model("blind", max_output_tokens=9_000),
    )
    assert [one.model.name for one in ranked([short, long, blind], needs).candidates] == ["long"]
    narrow = model("narrow", vision=True, context_tokens=1_000, max_output_tokens=2_000)
    with pytest.raises(NoCandidate, match="holds 1000 tokens"):
        ranked([narrow], needs)


def test_why_nobody_can_is_short_however_many_cannot() -> None:
    many = [model(f"text-{n}") for n in range(300)]
    with pytest.raises(NoCandidate) as refused:
        ranked([*many, model("seeing", vision=True, context_tokens=100)], Needs(vision=True, max_output_tokens=500))
    assert len(str(refused.value)) < 400
    for said in ("text-0, text-1, ", " and 292 more: does not see pictures; ", "seeing: holds 100 tokens"):
        assert said in str(refused.value)
    with pytest.raises(NoCandidate, match=r"and 292 more reasons$"):
        ranked([model(f"m{n}", context_tokens=n) for n in range(300)], Needs(input_tokens=50_000))


def test_a_ceiling_leaves_out_what_is_dearer() -> None:
    cheap = ranked([WEAK, STRONG], rule=Rule.BEST_UNDER_PRICE, ceiling=2000)
    assert [one.model.name for one in cheap.candidates] == ["weak"] and "above 2000" in dict(cheap.rejected)["strong"]


def test_a_drawn_model_stands_first_where_it_can() -> None:
    assert order([WEAK, STRONG], floor=0.5, first="strong") == ["strong", "weak"]
    sick = model("sick", 1.0, available=False)
    assert order([WEAK, sick], first="sick") == ["weak", "sick"]


def test_a_model_past_the_latency_ceiling_comes_last() -> None:
    slow = model("slow", 1.0, 1, latency_s=3.0)
    made = ranked([slow, STRONG], latency_s=2.0)
    assert [(one.model.name, one.reason) for one in made.candidates] == [
        ("strong", "cheapest_above"), ("slow", "cheapest_above,slow"),
    ]  # fmt: skip


def test_data_stays_in_its_regions_and_with_its_models() -> None:
    here, there, nowhere = model("here", regions=("eu",)), model("there", regions=("eu", "us")), model("nowhere")
    made = ranked([here, there, nowhere], only=(Only(regions=("eu",)),))
    assert [one.model.name for one in made.candidates] == ["here"]
    assert dict(made.rejected) == {"there": "runs in eu, us", "nowhere": "runs in no region that is known"}
    assert order([here, there], only=(Only(models=("there",)),)) == ["there"]


def test_a_task_that_a_model_is_good_at_counts_for_it() -> None:
    coder = model("coder", 0.2, by_task={"code": 2.0})
    prediction = Prediction(0.4, 0.9, "code")
    made = rank([(WEAK, 0.2), (coder, 0.2)], NEEDS, Terms(rule=Rule.BEST_UNDER_PRICE), prediction)
    assert made.candidates[0].model.name == "coder"
    made = rank([(WEAK, 0.2), (coder, 0.2)], NEEDS, Terms(), Prediction(0.4, 0.9, "chat"))
    assert made.candidates[0].quality == made.candidates[1].quality


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_conversation_falls_in_one_place(one: str, other: str) -> None:
    assert 0 <= place(one) < 1 and place(one) == place(one)
    assert (place(one) == place(other)) == (one == other)


@given(st.floats(0, 0.999))
def test_draws_follow_their_shares(at: float) -> None:
    name = draw({"a": 0.2, "b": 0.3}, at)
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
