"""A model that joins with a few scores or graded answers stands about where it belongs."""

import random

import pytest

from services.router.predictor import Prediction, ability
from services.router.profiles import Profile, graded


@pytest.mark.parametrize("true", [-0.8, 0.0, 0.7, 1.5])
def test_a_few_hundred_graded_answers_place_a_model(true: float) -> None:
    chance, answers = random.Random(3), list[tuple[Prediction, bool]]()
    for n in range(400):
        weak = chance.uniform(0.2, 0.8)
        one = Prediction(weak, min(weak + chance.uniform(0.05, 0.4), 0.97), ("chat", "code")[n % 2])
        answers.append((one, chance.random() < one.chance(true + (0.5 if one.task == "code" else 0.0))))
    made = graded(answers)
    assert made.ability is not None
    assert abs(made.ability + made.by_task.get("chat", 0.0) - true) < 0.35
    assert made.by_task.get("code", 0.0) > made.by_task.get("chat", 0.0)


def test_few_answers_leave_the_prior_nearly_where_it_was() -> None:
    made = graded([(Prediction(0.5, 0.9, "chat"), True)], prior=0.5)
    assert made.ability is not None and 0.5 < made.ability < 1.5
    assert graded([], prior=0.5).ability == 0.5


def test_benchmark_scores_place_a_model() -> None:
    level, tasks = Profile(scores={"mmlu": 0.8091, "gsm8k": 0.6273}).placed(0.1)
    assert level == pytest.approx(1.0) and tasks == {"maths": pytest.approx(-1.0)}
    level, tasks = Profile(scores={"mmlu": 0.6924}).placed(0.1)
    assert level == pytest.approx(0.0) and not tasks
    assert Profile(scores={"gsm8k": 0.8636}).placed(0.1)[0] == pytest.approx(1.0)


def test_an_ability_said_outright_or_the_catalogues_word() -> None:
    assert Profile(ability=0.3, by_task={"code": 1.0}, scores={"mmlu": 0.9}).placed(0.1) == (0.3, {"code": 1.0})
    assert Profile().placed(0.75) == (ability(0.75), {}) == Profile(scores={"unheard-of": 0.5}).placed(0.75)
