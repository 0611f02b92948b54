"""A stream that goes on and on: what is held back stays within its bound, and so does memory."""

import random
import time
import tracemalloc

import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.guard.app import detector
from services.guard.completion import Completion
from services.guard.detector import MOST_KEPT
from services.guard.policies import Policies
from tests.support.garbage import TURNS, left_by
from tests.support.scale import sized

BOUND = 256
PIECES, SECONDS = 4000, sized(0, 600)
COUNTED = 30_000
"""Pieces at least: kept, they would be more than tables take."""
GROWN = 2 << 20
"""What tables that are full already take when they lay themselves out anew."""
WORDS = "toll road lease meter span ledger recall bridge river".split()
VALUES = {"[EMAIL_1]": "ada@example.com", "[PERSON_1]": "Ada Lovelace"}


def pieces(chance: random.Random) -> str:
    """A word, a placeholder that was given out, a value that the model makes up; now and then cut in two."""
    roll = chance.random()
    if roll < 0.05:
        return chance.choice(["[EMA", "IL_1]", "[PERSON_1] "])
    if roll < 0.1:
        return f"{chance.choice(WORDS)}{chance.randint(1, 10**6)}@example.org "
    return f"{chance.choice(WORDS)} {chance.randint(1, 10**6)} "


def fed(completion: Completion, chance: random.Random) -> int:
    """Feeds one piece; how much is held back."""
    completion.feed(chat.ChatChunk(choices=[chat.ChoiceDelta(content=pieces(chance))]))
    return max(stream.held for stream in completion._streams.values())


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_neither_what_is_held_nor_memory_grows() -> None:
    searched = detector(names=False)
    completion, chance = Completion(VALUES, Policies().of("*"), searched.find), random.Random(3)
    most = 0
    for _ in range(MOST_KEPT + PIECES):  # until what the detector remembers of texts is as large as it gets
        most = max(most, fed(completion, chance))
    tracemalloc.start()
    try:
        for _ in range(MOST_KEPT + PIECES):  # and all of it is counted
            most = max(most, fed(completion, chance))
        before, _ = tracemalloc.get_traced_memory()
        until, rounds = time.monotonic() + SECONDS, 0
        while rounds < COUNTED or time.monotonic() < until:
            most, rounds = max(most, fed(completion, chance)), rounds + 1
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < most <= BOUND
    assert after - before < GROWN


def test_an_inspected_answer_leaves_nothing_to_the_collector() -> None:
    searched = detector(names=False)

    def inspected() -> None:
        message = chat.Message(parts=[chat.ContentPart(text="Ask ada@example.com, or [PERSON_1].")], refusal="no")
        found = Completion(VALUES, Policies().of("*"), searched.find).whole(
            chat.ChatCompletion(choices=[chat.Choice(message=message)])
        )
        assert [one.type for one, _ in found] == ["EMAIL"]

    assert left_by(inspected) < TURNS
