"""What the guard holds back of a stream is told before what comes after it, since some wires cannot come back to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.guard.completion import Completion
from services.guard.policies import Policies

VALUES = {"[EMAIL_1]": "ann@example.com"}
POLICY = Policies().of("*")
TEXTS = ("It is [EMAIL_1]", "mail [EMAIL_1", "sk-", "a", "[EMAIL_1] [", "4111 1111")


def pieces(said: list[tuple[str, int, str]], size: int) -> list[chat.ChoiceDelta]:
    """Texts one after the other, cut into pieces."""
    made = []
    for name, call, text in said:
        for at in range(0, len(text), size):
            piece = text[at : at + size]
            if name == "arguments":
                made.append(chat.ChoiceDelta(tool_calls=[chat.ToolCallDelta(index=call, arguments=piece)]))
            else:
                more: dict[str, Any] = {name: piece}
                made.append(chat.ChoiceDelta(**more))
    return [*made, chat.ChoiceDelta(finish_reason=chat.FINISH_REASON_STOP)]


def told(delta: chat.ChoiceDelta) -> list[tuple[str, int, str]]:
    """As wires tell a piece: thoughts, then what is said, then calls."""
    made = [(name, 0, getattr(delta, name)) for name in ("reasoning", "content") if getattr(delta, name)]
    return made + [("arguments", one.index, one.arguments) for one in delta.tool_calls if one.arguments]


answers = st.tuples(
    st.lists(st.tuples(st.just("reasoning"), st.just(0), st.sampled_from(TEXTS)), max_size=1),
    st.lists(st.tuples(st.just("content"), st.just(0), st.sampled_from(TEXTS)), max_size=1),
    st.lists(st.sampled_from(TEXTS), max_size=3),
).map(lambda one: [*one[0], *one[1], *(("arguments", n, text) for n, text in enumerate(one[2]))])


@given(answers, st.integers(1, 20))
def test_each_text_is_told_to_its_end_before_the_next(said: list[tuple[str, int, str]], size: int) -> None:
    completion = Completion(VALUES, POLICY, lambda text: [])
    seen: list[tuple[str, int, str]] = []
    for delta in pieces(said, size):
        chunk = chat.ChatChunk(choices=[delta])
        completion.feed(chunk)
        seen += told(chunk.choices[0])
    places = [(name, call) for name, call, _ in seen]
    in_order = sorted(places, key=lambda one: (("reasoning", "content", "arguments").index(one[0]), one[1]))
    assert places == in_order
    whole: dict[tuple[str, int], str] = {}
    for name, call, text in seen:
        whole[name, call] = whole.get((name, call), "") + text
    for name, call, text in said:
        assert whole[name, call] == text.replace("[EMAIL_1]", VALUES["[EMAIL_1]"])


@pytest.mark.parametrize("whole", (False, True))
def test_calls_of_one_piece_keep_their_places(whole: bool) -> None:
    completion = Completion(VALUES, POLICY, lambda text: [])
    calls = [chat.ToolCallDelta(index=n, id=f"c{n}", name="f", arguments='{"to": "[EMAIL_1') for n in range(2)]
    chunk = chat.ChatChunk(choices=[chat.ChoiceDelta(content="To [EMAIL_1]", tool_calls=calls if whole else calls[:1])])
    completion.feed(chunk)
    (delta,) = chunk.choices
    assert delta.content == "To ann@example.com"
    assert [one.id for one in delta.tool_calls] == (["c0", "c1"] if whole else ["c0"])
