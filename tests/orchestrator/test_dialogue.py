"""Events of OpenAI's Realtime API: where their texts stand, and the most that a model reads of them."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.orchestrator import bounds, dialogue
from services.orchestrator.failures import EventUnfit
from services.orchestrator.purse import Context

COUNTS = st.integers(0, 10_000)


def message(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def test_every_text_of_an_event_is_found_and_can_be_changed() -> None:
    heard = {"transcription": {"model": "w", "prompt": "p1"}}
    update = {"type": "session.update", "session": {"instructions": "i", "audio": {"input": heard}}}
    item = {
        "type": "conversation.item.create",
        "item": message({"type": "input_text", "text": "t"}, {"transcript": "s"}),
    }
    create = {"type": "response.create", "response": {"instructions": "j", "input": [
        message({"text": "a"}, role="assistant"),
        {"type": "function_call", "arguments": "{}"},
        {"type": "function_call_output", "output": "o"},
        {"type": "item_reference", "id": "x"},
    ]}}  # fmt: skip
    found = {one["type"]: dialogue.texts(one) for one in (update, item, create)}
    roles = {
        kind: [(text.value, text.role) for text in texts] for kind, texts in found.items()
    }  # fmt: skip
    assert roles["session.update"] == [("i", chat.ROLE_SYSTEM), ("p1", chat.ROLE_SYSTEM)]
    assert roles["conversation.item.create"] == [("t", chat.ROLE_USER), ("s", chat.ROLE_USER)]
    assert roles["response.create"] == [
        ("j", chat.ROLE_SYSTEM), ("a", chat.ROLE_ASSISTANT), ("{}", chat.ROLE_ASSISTANT), ("o", chat.ROLE_TOOL),
    ]  # fmt: skip
    for texts in found.values():
        for text in texts:
            text.put("X")
    assert heard["transcription"]["prompt"] == update["session"]["instructions"] == "X"  # type: ignore[index]
    assert dialogue.texts({"type": "response.create"}) == [] == dialogue.texts({"type": "response.cancel"})


@pytest.mark.parametrize(
    ("event", "at"),
    [
        ({"type": "session.update"}, "session"),
        ({"type": "session.update", "session": {"instructions": {}}}, "session.instructions"),
        ({"type": "conversation.item.create", "item": {"type": "mcp_list_tools"}}, "item.type"),
        ({"type": "conversation.item.create", "item": message({"text": 7})}, "item.content[0].text"),
        ({"type": "response.create", "response": []}, None),
        ({"type": "response.create", "response": "now"}, "response"),
        ({"type": "response.create", "response": {"input": ["hello"]}}, "response.input[0].type"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_refused_by_its_place(event: dict[str, Any], at: str | None) -> None:
    if at is None:
        assert dialogue.texts(event) == []
        return
    with pytest.raises(EventUnfit) as refused:
        dialogue.texts(event)
    assert refused.value.facts["at"] == at


@pytest.mark.parametrize("raw", ["", "nothing", "[]", "7", '{"type": 7}', "{}"])
def test_what_is_no_event_is_refused(raw: str) -> None:
    with pytest.raises(EventUnfit):
        dialogue.parsed(raw)


@pytest.mark.parametrize(("format_", "a_second"), [("audio/pcm", 48_000), ("audio/pcmu", 8_000), ("audio/pcma", 8_000)])
def test_sound_counts_by_how_long_it_lasts(format_: str, a_second: int) -> None:
    sound = base64.b64encode(b"\1" * a_second * 3).decode()
    event = {"type": "conversation.item.create", "item": message({"type": "input_audio", "audio": sound})}
    text, heard, pictures = dialogue.read_at_most(event, format_)
    assert (heard, pictures) == (60, 0) and text < 200
    seen = {"type": "conversation.item.create", "item": message({"type": "input_image", "image_url": "data:" + sound})}
    text, heard, pictures = dialogue.read_at_most(seen, format_)
    assert (heard, pictures) == (0, bounds.PICTURE) and text < 200


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_text_is_counted_as_less_than_its_bytes(instructions: str, said: list[str]) -> None:
    parts = [{"type": "input_text", "text": one} for one in said]
    event = {"type": "response.create", "response": {"instructions": instructions, "input": [message(*parts)]}}
    try:
        texts, (counted, _, _) = [instructions, *said], dialogue.read_at_most(event, "audio/pcm")
    except TypeError:  # half a character, which no JSON brings
        return
    assert counted >= sum(len(one.encode()) for one in texts)


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), max_size=5), st.lists(st.tuples(COUNTS, COUNTS, COUNTS), max_size=5),
       COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)  # fmt: skip
def test_a_response_stands_for_what_it_read_and_wrote(
    before: list[tuple[int, int, int]], since: list[tuple[int, int, int]], text: int, heard: int, seen: int,
    wrote: int, spoke: int,
) -> None:  # fmt: skip
    context = Context()
    for one in before:
        context.add(*one)
    assert (context.text, context.sound, context.pictures) == tuple(sum(one[n] for one in before) for n in range(3))
    context.begun()
    for one in since:
        context.add(*one)
    kinds = chat.TokenKinds(audio_input_tokens=heard, image_input_tokens=seen, audio_output_tokens=spoke)
    context.told(chat.Usage(input_tokens=text + heard + seen, output_tokens=wrote + spoke, kinds=kinds))
    came = [sum(one[n] for one in since) for n in range(3)]
    assert (context.text, context.sound, context.pictures) == (
        text + wrote + came[0],
        heard + spoke + came[1],
        seen + came[2],
    )
