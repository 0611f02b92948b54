"""An answer of OpenAI's wire that comes in one piece."""

from services.models.wires.openai import completion
from tests.support.garbage import TURNS, left_by

TOKEN = {"token": "hé", "logprob": -0.5}
BODY = {
    "id": "one",
    "created": 1,
    "choices": [
        {
            "message": {"content": "hé"},
            "finish_reason": "stop",
            "logprobs": {"content": [{**TOKEN, "bytes": [104], "top_logprobs": [TOKEN, {**TOKEN, "logprob": -1.5}]}]},
        }
    ],
}


def test_log_probabilities_and_their_rivals_are_taken_over() -> None:
    (told,) = completion(BODY, "m").choices[0].logprobs
    assert (told.token, told.logprob, told.utf8) == ("hé", -0.5, b"h")
    assert [(one.utf8, one.logprob) for one in told.top] == [("hé".encode(), -0.5), ("hé".encode(), -1.5)]


def test_reading_one_leaves_nothing_to_the_collector() -> None:
    assert left_by(lambda: completion(BODY, "m")) < TURNS
