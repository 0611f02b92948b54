"""Stretches of an answer that rest on a page stay what they are when the answer is rewritten on its way."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.guard.app import detector
from services.guard.completion import Completion
from services.guard.places import MOST_CHARACTERS, MOST_PIECES, Places
from services.guard.policies import Policies
from services.guard.policy_file import parse
from tests.support.scale import sized

ANSWERS = detector(names=False)
"""As the guard searches answers."""
VALUES = {"[EMAIL_1]": "ada.lovelace@example.com", "[PERSON_1]": "Al"}
PIECES = ["[EMAIL_1]", "[PERSON_1]", "the toll is nine crowns", " ", ". ", "and", "\n"]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12)


def completion() -> Completion:
    return Completion(VALUES, Policies("", None).of("acme"), ANSWERS.find)


def restored(text: str) -> str:
    for name, value in VALUES.items():
        text = text.replace(name, value)
    return text


def stretches(pieces: list[str]) -> list[chat.WebCitation]:
    """Each piece but white space rests on a page of its own."""
    made, at = list[chat.WebCitation](), 0
    for one in pieces:
        if one.strip(" .\n"):
            made.append(chat.WebCitation(url=one, start=at, end=at + len(one)))
        at += len(one)
    return made


@settings(max_examples=sized(100, 5_000))
@given(TEXTS)
def test_of_an_answer_that_came_whole(pieces: list[str]) -> None:
    message = chat.Message(parts=[chat.ContentPart(text="".join(pieces))], citations=stretches(pieces))
    made = chat.ChatCompletion(choices=[chat.Choice(message=message)])
    completion().whole(made)
    said = made.choices[0].message
    assert said.parts[0].text == restored("".join(pieces))
    for one in said.citations:
        assert said.parts[0].text[one.start : one.end] == restored(one.url)


@settings(max_examples=sized(100, 5_000))
@given(TEXTS, st.integers(1, 9), st.booleans())
def test_of_an_answer_that_comes_in_pieces(pieces: list[str], size: int, finishes: bool) -> None:
    text, state, shown, cited = "".join(pieces), completion(), "", list[chat.WebCitation]()
    waiting = stretches(pieces)
    deltas = []
    for n in range(0, len(text), size):
        known = [one for one in waiting if one.end <= n + size]
        waiting = [one for one in waiting if one.end > n + size]
        deltas.append(chat.ChoiceDelta(content=text[n : n + size], citations=known))
    if finishes:
        deltas.append(chat.ChoiceDelta(finish_reason=chat.FINISH_REASON_STOP))
    for delta in deltas:
        chunk = chat.ChatChunk(choices=[delta])
        state.feed(chunk)
        for one in chunk.choices:
            shown += one.content
            assert all(found.end <= len(shown) for found in one.citations), "told before its text"
            cited += one.citations
    last, _ = state.end()
    for one in last.choices if last is not None else ():
        shown += one.content
        cited += one.citations
    assert shown == restored(text) and len(cited) == len(stretches(pieces))
    assert all(shown[one.start : one.end] == restored(one.url) for one in cited)


def test_queries_are_shown_as_the_asker_wrote_them() -> None:
    message = chat.Message(lookups=[chat.WebLookup(id="1", query="mail of [EMAIL_1]")])
    made = chat.ChatCompletion(choices=[chat.Choice(message=message)])
    completion().whole(made)
    assert made.choices[0].message.lookups[0].query == "mail of ada.lovelace@example.com"


def test_what_a_page_says_is_masked_as_what_a_model_says() -> None:
    state = Completion({}, parse("completion: {default: mask}", "acme"), ANSWERS.find)
    cited = chat.WebCitation(url="https://e.org", quote="Call ada.lovelace@example.com now")
    made = chat.ChatCompletion(choices=[chat.Choice(message=chat.Message(citations=[cited]))])
    state.whole(made)
    assert made.choices[0].message.citations[0].quote == "Call [EMAIL] now"


def test_places_are_told_in_any_order_and_within_the_text() -> None:
    def rewriting() -> Callable[[str], str]:
        return lambda text: text.replace("ab", "x")

    places = Places(rewriting)
    places.add("ab cd ")
    places.add("ab")
    assert [places.of(at) for at in (8, 0, 2, 6, 5, 99)] == [6, 0, 1, 5, 4, 6]


def test_of_a_text_without_end_nothing_is_kept() -> None:
    places = Places(lambda: lambda text: text.replace("ab", "x"))
    for _ in range(3000):
        places.add("ab cd ")
    assert places.of(8) == 6 and len(places._said) <= MOST_PIECES + 1
    places.add("ab" * MOST_CHARACTERS)
    places.add("more")
    assert places.of(8) == 0 and not places._said, "a stretch that cannot be told begins and ends at once"
