"""What is left of a text: whole sentences that bear on the question, code and headings with them, nothing twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.models.compression import Compressor
from services.models.history import LEFT_OUT, shortened
from services.models.sentences import sentences
from tests.models.upstream import compressor, counter

CODE = "```python\nif x:\n    return 1.5. and more\n```\n"


def cut(text: str) -> list[str]:
    return [one.text.strip() for one in sentences(0, text, counter().text)]


def test_a_sentence_ends_where_it_ends() -> None:
    assert cut('Dr. Vela paid 3.50 euros, e.g. for tea. "It is cold. Very cold." she said. See Fig. 3! So J. Smith left.') == [
        "Dr. Vela paid 3.50 euros, e.g. for tea.", '"It is cold. Very cold." she said.', "See Fig. 3!", "So J. Smith left.",
    ]  # fmt: skip
    assert cut("# Heading\nOne.\n- item a\n- item b\n" + CODE + "After.") == [
        "# Heading", "One.", "- item a", "- item b", CODE.strip(), "After.",
    ]  # fmt: skip


@given(st.text(alphabet=st.sampled_from(list('ab .!?\n"“”`#-1A')), max_size=300))
def test_pieces_join_to_the_text(text: str) -> None:
    parts = sentences(0, text, counter().text)
    assert "".join(one.text for one in parts) == text
    assert all(text[one.start :].startswith(one.text) for one in parts)


FILLER = "The sky was grey that day. People walked along the river. Nothing much was going on. "


async def test_what_answers_is_left_with_what_it_leans_on() -> None:
    text = f"{FILLER}The old ferry has two decks. It was built in 1961 by Marlow. {FILLER * 3}"
    made = await compressor().passages([text], "When was the ferry built?", 30)
    assert "The old ferry has two decks. It was built in 1961 by Marlow." in made.texts[0]
    assert made.tokens_after <= 30 < made.tokens_before
    left_out = "".join(text[one.start : one.end] for one in made.cuts)
    assert "grey" in left_out and "1961" not in left_out
    assert sum(one.tokens for one in made.cuts) == made.tokens_before - made.tokens_after


async def test_code_stays_whole_and_under_its_heading() -> None:
    text = f"{FILLER}\n# Returning early\n{CODE}{FILLER * 3}"
    made = await compressor().passages([text], "how do I return 1.5 early in python?", 45)
    assert CODE.strip() in made.texts[0] and "# Returning early" in made.texts[0]


async def test_what_is_said_twice_is_kept_once_unless_a_number_or_a_name_differs() -> None:
    said = "The toll for lorries is nine crowns. "
    made = await compressor().passages([said * 5 + FILLER * 3], "what is the toll for lorries?", 60)
    assert made.texts[0].count(said.strip()) == 1
    tolls = "The toll at Oslo is 9 crowns. The toll at Turin is 9 crowns. The toll at Oslo is 12 crowns. "
    made = await compressor().passages([tolls + FILLER * 3], "what are the tolls?", 45)
    assert made.texts[0].startswith(tolls.strip())


async def test_words_alone_decide_while_the_encoder_is_away() -> None:
    async def away(texts: list[str]) -> None:
        return None

    made = await Compressor(counter(), away).passages(
        [FILLER * 2 + "Lorries pay nine crowns. " + FILLER * 2], "what do lorries pay?", 20
    )
    assert "nine crowns" in made.texts[0]


@given(
    st.lists(st.text(alphabet=st.sampled_from(list("abc. \n")), max_size=80), min_size=1, max_size=4),
    st.integers(5, 60),
)
async def test_never_more_than_the_budget_but_for_the_last_sentence(texts: list[str], budget: int) -> None:
    async def away(texts: list[str]) -> None:
        return None

    made = await Compressor(counter(), away).passages(texts, "abc", budget)
    longest = max((one.tokens for text in texts for one in sentences(0, text, counter().text)), default=0)
    assert made.tokens_after <= max(budget, longest)
    assert len(made.texts) == len(texts)


def conversation() -> chat.ChatRequest:
    request = chat.ChatRequest(model="m")

    def say(role: "chat.Role.ValueType", text: str, **more: object) -> None:
        request.messages.add(role=role, **more).parts.add(text=text)

    say(chat.ROLE_SYSTEM, "Be brief. Never speak of prices. " + FILLER)
    say(chat.ROLE_USER, "The ferry leaves Lisbon at 7:40. " + FILLER * 4)
    say(chat.ROLE_ASSISTANT, "Noted. " + FILLER * 4)
    say(chat.ROLE_USER, FILLER * 4)
    request.messages.add(role=chat.ROLE_ASSISTANT).tool_calls.add(id="c1", name="look", arguments="{}")
    say(chat.ROLE_TOOL, FILLER * 6, tool_call_id="c1")
    say(chat.ROLE_ASSISTANT, "Anything else? " + FILLER * 2)
    say(chat.ROLE_USER, "When does the ferry leave Lisbon?")
    return request


async def test_a_conversation_keeps_instructions_the_question_and_what_bears_on_it() -> None:
    request = conversation()
    made = await shortened(compressor(), request, 160)
    assert made.tokens_after <= 160 < made.tokens_before and made.messages_dropped >= 1
    kept = made.chat.messages
    assert kept[0] == request.messages[0] and kept[-1] == request.messages[-1]
    assert any("7:40" in part.text for message in kept for part in message.parts)
    calls = [call.id for message in kept for call in message.tool_calls]
    results = [message.tool_call_id for message in kept if message.role == chat.ROLE_TOOL]
    assert calls == results == ["c1"]
    assert len(request.messages) == 8  # the caller's own is untouched


async def test_a_conversation_that_fits_or_has_nothing_to_leave_out_stays() -> None:
    request = conversation()
    assert (await shortened(compressor(), request, 100_000)).chat is request
    alone = chat.ChatRequest(messages=[request.messages[0], request.messages[-1]])
    assert (await shortened(compressor(), alone, 1)).chat is alone


@pytest.mark.parametrize("budget", [1, 60, 90, 200, 400])
async def test_a_tools_result_is_never_missing(budget: int) -> None:
    made = await shortened(compressor(), conversation(), budget)
    (result,) = [message for message in made.chat.messages if message.role == chat.ROLE_TOOL]
    assert result.parts[0].text
    if budget == 1:
        assert result.parts[0].text == LEFT_OUT
