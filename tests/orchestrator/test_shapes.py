"""Pieces of an answer put together, however it was cut."""

from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.orchestrator.shapes import Whole, as_chunk

TEXTS = st.lists(st.text(max_size=8), max_size=6)
CALLS = st.lists(TEXTS, max_size=3)
ANSWERS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS, CALLS), min_size=1, max_size=3)


def pieces(index: int, said: tuple[list[str], list[str], list[str], list[list[str]]]) -> list[chat.ChatChunk]:
    content, refusal, reasoning, calls = said
    deltas = [chat.ChoiceDelta(index=index, reasoning=one) for one in reasoning]
    deltas += [chat.ChoiceDelta(index=index, content=one) for one in content]
    deltas += [chat.ChoiceDelta(index=index, refusal=one) for one in refusal]
    for n, texts in enumerate(calls):
        begun = chat.ToolCallDelta(index=n, id=f"call_{n}", name="look")
        parts = [begun, *(chat.ToolCallDelta(index=n, arguments=one) for one in texts)]
        deltas += [chat.ChoiceDelta(index=index, tool_calls=[one]) for one in parts]
    deltas.append(chat.ChoiceDelta(index=index, finish_reason=chat.FINISH_REASON_STOP))
    return [chat.ChatChunk(id="c", choices=[one]) for one in deltas]


@given(ANSWERS)
def test_whatever_it_was_cut_into_is_whole_again(
    answers: list[tuple[list[str], list[str], list[str], list[list[str]]]],
) -> None:
    whole = Whole()
    for index in reversed(range(len(answers))):
        for piece in pieces(index, answers[index]):
            whole.add(piece)
    made = whole.finished()
    assert [one.index for one in made.choices] == list(range(len(answers)))
    for choice, (content, refusal, reasoning, calls) in zip(made.choices, answers, strict=True):
        said = choice.message
        assert "".join(part.text for part in said.parts) == "".join(content) and len(said.parts) <= 1
        assert (said.refusal, said.reasoning) == ("".join(refusal), "".join(reasoning))
        assert [call.arguments for call in said.tool_calls] == ["".join(texts) for texts in calls]
        assert [call.name for call in said.tool_calls] == ["look"] * len(calls)
    told = sum(len(text) for one in answers for texts in (*one[:3], *one[3]) for text in texts)
    assert whole.characters == told
    again = chat.ChatCompletion()
    again.CopyFrom(made)
    assert whole.finished() == again  # asked twice, it is no longer
    through = Whole()
    through.add(as_chunk(made))
    assert through.finished().choices == made.choices
