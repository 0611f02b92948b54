"""Which answers of a cheap model will do, from their form alone."""

import pytest

from services.router.cascading import Answer, Wanted, agree, cheaper_first, judged, repeats
from services.router.policy import CascadePolicy
from services.router.ranking import Ranked
from tests.router.test_ranking import STRONG, WEAK, model


@pytest.mark.parametrize(
    ("answer", "wanted", "reason"),
    [
        (Answer(""), Wanted(), "empty"),
        (Answer("half an ans", cut_off=True), Wanted(), "cut_off"),
        (Answer("no", filtered=True), Wanted(), "filtered"),
        (Answer("plain words"), Wanted(json=True), "no_json"),
        (Answer('{"a": 1}'), Wanted(json=True, required=("a", "b")), "no_json"),
        (Answer("I would call it"), Wanted(tool=True), "no_tool_call"),
        (Answer("I'm sorry, but I cannot answer that."), Wanted(), "refuses"),
        (Answer("the toll is nine crowns and " * 20), Wanted(), "repeats"),
        (Answer("The toll is nine crowns."), Wanted(), "good"),
        (Answer('{"a": 1}'), Wanted(json=True, required=("a",)), "good"),
        (Answer("", calls=("look",)), Wanted(tool=True), "good"),
    ],
)
def test_a_fault_of_form_is_named(answer: Answer, wanted: Wanted, reason: str) -> None:
    made = judged([answer], wanted, chance=0.7, enough=0.5)
    assert (made.good, made.reason) == (reason == "good", reason)


def test_what_passes_is_worth_what_was_predicted_and_more_when_answers_agree() -> None:
    assert judged([Answer("yes")], Wanted(), 0.4, 0.5).reason == "unsure"
    made = judged([Answer("It is 42."), Answer("So the answer is 42.0")], Wanted(), 0.4, 0.5)
    assert made.good and made.score == 0.7
    assert judged([Answer("It is 42."), Answer("It is 41.")], Wanted(), 0.9, 0.5).reason == "disagrees"


def test_agreement_is_of_last_numbers_or_of_most_words() -> None:
    assert agree("in all 1,200", "that makes 1200.0") and not agree("10", "1") and not agree("a cat", "the dog ran off")
    assert agree("Paris is the capital", "the capital is Paris") and agree("", "")


def test_a_refusal_late_in_an_answer_is_part_of_it() -> None:
    text = (
        "Here is the letter. " + "It goes on for a while with this and that and more. " * 5 + "I cannot answer for him."
    )
    assert judged([Answer(text)], Wanted(), 0.9, 0.5).good or repeats(text)


def test_the_cheap_one_goes_first_only_where_it_is_much_cheaper_and_well() -> None:
    strong, weak = Ranked(STRONG, 0.8, 100, "r"), Ranked(WEAK, 0.6, 10, "r")
    made = cheaper_first([strong, weak], CascadePolicy())
    assert made is not None and [(one.model.name, one.reason) for one in made] == [("weak", "cascade"), ("strong", "r")]
    assert cheaper_first([strong, Ranked(WEAK, 0.6, 80, "r")], CascadePolicy()) is None
    assert cheaper_first([weak, strong], CascadePolicy()) is None
    assert cheaper_first([strong, Ranked(model("sick", available=False), 0.6, 1, "r")], CascadePolicy()) is None
