"""Keys, what is fit to keep, the screen and the thresholds, without a store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.cache.v1 import cache_pb2 as pb
from tollway.chat.v1 import chat_pb2 as chat

from services.cache.keys import PERSONAL, TIMELY, Keys, keys, unfit
from services.cache.proof import threshold_of
from services.cache.screen import Screen, gist, opaque, renumbered
from services.cache.store import Entry


def asked(text: str = "What is a toll?", **more: object) -> chat.ChatRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)])
    return chat.ChatRequest(model="m", messages=[message], **more)  # type: ignore[arg-type]


def made(finish: "chat.FinishReason.ValueType" = chat.FINISH_REASON_STOP) -> chat.ChatCompletion:
    return chat.ChatCompletion(choices=[chat.Choice(finish_reason=finish)])


def key(
    request: chat.ChatRequest, conditions: pb.Conditions | None = None, scope: Any = 1, account: str = "acme/a",
    key_id: str = "k",
) -> Keys:  # fmt: skip
    return keys(request, conditions or pb.Conditions(), scope, account, key_id)


CHANGES = [
    asked(temperature=0.7), asked(max_output_tokens=5), asked(tools=[chat.Tool(name="t")]), asked(seed=1),
    asked(response_format=chat.ResponseFormat(type=chat.ResponseFormat.TYPE_JSON_OBJECT)),
]  # fmt: skip


@pytest.mark.parametrize("other", CHANGES, ids=range(len(CHANGES)))
def test_what_changes_an_answer_changes_both_keys(other: chat.ChatRequest) -> None:
    assert key(asked()).exact != key(other).exact and key(asked()).scope != key(other).scope


def test_what_does_not_change_it_does_not() -> None:
    assert key(asked()) == key(asked(user="u", metadata={"a": "b"}, include_usage=True))
    marked = asked()
    marked.messages[-1].parts[0].cache_mark = True
    assert key(asked()) == key(marked)


def test_other_words_keep_the_scope_alone() -> None:
    a, b = key(asked("one")), key(asked("two"))
    assert a.scope == b.scope and a.exact != b.exact and (a.text, b.text) == ("one", "two")


def test_what_was_said_before_counts() -> None:
    system = chat.Message(role=chat.ROLE_SYSTEM, parts=[chat.ContentPart(text="be brief")])
    longer = asked()
    longer.messages.insert(0, system)
    assert key(asked()).scope != key(longer).scope


def test_conditions_count() -> None:
    for conditions in (
        pb.Conditions(policy_version="2"),
        pb.Conditions(retrieval_epoch=3),
        pb.Conditions(placeholders="EMAIL_1"),
        pb.Conditions(ground="of the board"),
    ):
        assert key(asked()).scope != key(asked(), conditions).scope


def test_scopes_of_key_project_and_tenant() -> None:
    def same(scope: int, account: str, key_id: str = "k") -> bool:
        mine, theirs = key(asked(), scope=scope), key(asked(), scope=scope, account=account, key_id=key_id)
        return mine.exact == theirs.exact

    assert same(pb.SCOPE_TENANT, "acme/b") and not same(pb.SCOPE_TENANT, "acmex/a")
    assert same(pb.SCOPE_PROJECT, "acme/a", "k2") and not same(pb.SCOPE_PROJECT, "acme/b")
    assert same(pb.SCOPE_KEY, "acme/a") and not same(pb.SCOPE_KEY, "acme/a", "k2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("What is the weather today?", "TIME_SENSITIVE"), ("latest news on rates", "TIME_SENSITIVE"),
        ("What is my balance?", "PERSONAL"), ("Wie ist mein Konto?", "PERSONAL"), ("What is a toll?", ""),
    ],
)  # fmt: skip
def test_what_is_not_kept_unless_asked(text: str, why: str) -> None:
    assert unfit(asked(text), made()) == why


@given(
    st.lists(st.sampled_from(
        "today now enow newsé énow nu nuß ſcore MAÑANA aktuellé aktuelles my meine meiné konto \u212aonto order know who am i".split()
    ), max_size=6),
    st.sampled_from((" ", "\u00a0", "\u2003", "\x1c", "\x85", "", "_", "é", ".")),
)  # fmt: skip
def test_what_is_seen_quickly_is_all_there_is(words: list[str], between: str) -> None:
    text = between.join(words)
    why = "TIME_SENSITIVE" if TIMELY.search(text) else "PERSONAL" if PERSONAL.search(text) else ""
    assert unfit(asked(text), made()) == why


def test_unfinished_random_and_calling_answers_are_not_kept() -> None:
    assert unfit(asked(), made(chat.FINISH_REASON_LENGTH)) == unfit(asked(), chat.ChatCompletion()) == "INCOMPLETE"
    assert unfit(asked(temperature=1.5), made()) == "RANDOM"
    assert unfit(asked(web_search=chat.WebSearch()), made()) == "WEB_SEARCH"
    assert unfit(asked(tools=[chat.Tool(name="t")]), made()) == "TOOL_CALLS"


def test_the_screen_passes_rewordings_and_stops_strangers() -> None:
    text = "How do I reset the forgotten password of my online banking account?"
    stranger = "Which soil do blueberries need, and how often are they watered during a dry July in Spain?"
    assert Screen().plausible(
        text, [("How can I reset a forgotten online banking account password?", 0.9), (stranger, 0.65)]
    ) == [True, False]


@given(right=st.integers(0, 50), wrong=st.integers(0, 50), threshold=st.floats(0.5, 0.999))
def test_feedback_moves_a_threshold_within_bounds(right: int, wrong: int, threshold: float) -> None:
    def at(right: int, wrong: int) -> float:
        entry = Entry("", "", "", "", "", None, b"", "", (), 0, 0, right=right, wrong=wrong)
        return threshold_of(entry, threshold)

    assert at(right, wrong + 1) > at(right, wrong) >= 1 - 2 * (1 - threshold) - 1e-9
    assert at(right + 1, wrong) <= at(right, wrong) < 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("hello 7a7341ee9c2341eeb18cf7ef720b9ad8", "hello 717e2b35285342a0847e293a8939f4d4"),
        ("Where is order 4711?", "Where is order 4712?"),
        ("Status of ticket AB-1201, please", "Status of ticket AB-1202, please"),
    ],
)
def test_another_number_or_identifier_is_another_question(a: str, b: str) -> None:
    assert Screen().plausible(a, [(b, 0.999), (a, 0.999)]) == [False, True]


@pytest.mark.parametrize(
    ("word", "code"),
    [("9f31c07e", True), ("1180234", True), ("a1b2c3", True), ("windows10", False), ("2014", False), ("i18n", False),
     ("x86_64", False), ("covid19", False)],
)  # fmt: skip
def test_what_is_one_of_many_alike(word: str, code: bool) -> None:
    assert opaque(word) is code
    assert renumbered(gist(f"send {word} again"), gist("send it again")) is code
    assert not renumbered(gist(f"send {word} again"), gist(f"again, please send {word}"))
