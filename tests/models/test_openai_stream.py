"""Pieces of a stream that come at once are told on as one, and nothing of them is lost."""

import asyncio
import gc
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.wires.every import wires_over
from services.models.wires.http import _Patience
from services.models.wires.openai import chunk
from services.models.wires.openai_stream import Reading
from services.runtime.http import session
from tests.models.faulty import SSE, Fault, faulty
from tests.models.upstream import asked, counter, target

STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def delta(index: int = 0, **said: Any) -> dict[str, Any]:
    return {"id": "one", "created": 1, "choices": [{"index": index, "delta": said}]}


def events(*bodies: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies)


def reading() -> Reading:
    return Reading(lambda choice: len(choice.content.split()))


DELTAS = st.one_of(
    st.builds(lambda n, text: delta(n, content=text), st.integers(0, 1), st.sampled_from(["a ", "b ", ""])),
    st.builds(lambda text: delta(reasoning_content=text), st.sampled_from(["why ", "so "])),
    st.builds(lambda text: delta(refusal=text), st.sampled_from(["no "])),
    st.builds(lambda text: delta(role="assistant", content=text), st.sampled_from(["", "c "])),
    st.just(delta(tool_calls=[{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}])),
)


@given(st.lists(st.lists(DELTAS, max_size=6), max_size=6))
def test_nothing_is_lost_however_pieces_come(together: list[list[dict[str, Any]]]) -> None:
    made = reading()
    told = [piece for bodies in together for piece in made.take([chunk(body, "m") for body in bodies])]
    told += made.take([chunk(STOP, "m")])
    assert made.end is not None and made.end.choices[0].finish_reason == chat.FINISH_REASON_STOP
    sent = [choice for bodies in together for body in bodies for choice in chunk(body, "m").choices]
    got = [choice for piece in told for choice in piece.choices]
    for index in (0, 1):
        for name in ("content", "reasoning", "refusal"):
            whole = "".join(getattr(one, name) for one in sent if one.index == index)
            assert "".join(getattr(one, name) for one in got if one.index == index) == whole
    assert [call for one in got for call in one.tool_calls] == [call for one in sent for call in one.tool_calls]
    assert len(told) <= len(sent) and made.tokens == sum(len(one.content.split()) for one in sent)


def test_words_that_come_at_once_are_one_piece_and_others_are_not() -> None:
    made, words = reading(), [delta(content="one "), delta(content="two "), delta(content="three")]
    (piece,) = made.take([chunk(body, "m") for body in words])
    assert piece.choices[0].content == "one two three" and piece.id == "one" and made.tokens == 3
    assert [len(made.take([chunk(body, "m")])) for body in words] == [1, 1, 1]
    thought = [
        delta(reasoning_content="so"),
        delta(content="one "),
        delta(index=1, content="other "),
        delta(content="two"),
    ]
    assert len(made.take([chunk(body, "m") for body in thought])) == 4


def test_tokens_and_what_they_were_likely_stay_together() -> None:
    def told(word: str) -> dict[str, Any]:
        body = delta(content=word)
        body["choices"][0]["logprobs"] = {"content": [{"token": word, "logprob": -0.5, "bytes": None}]}
        return body

    (piece,) = reading().take([chunk(told(word), "m") for word in ("a", "b")])
    assert [one.token for one in piece.choices[0].logprobs] == ["a", "b"]


async def test_words_before_an_error_in_the_same_read_are_told() -> None:
    body = events(delta(content="one "), delta(content="two "), {"error": {"code": 500, "message": "hunter2"}})
    seen = ""
    async with faulty(Fault(headers=(("content-type", SSE),), body=body)) as url, session() as http:
        with pytest.raises(faults.ProviderBroke):
            async for piece in wires_over(http, counter())["openai"].stream(target("openai", url), asked("openai")):
                seen += piece.choices[0].content
    assert seen == "one two "


async def test_who_reads_slowly_is_not_taken_for_a_silent_provider() -> None:
    body = events(delta(content="one "), delta(content="two "), STOP) + b"data: [DONE]\n\n"
    seen = ""
    async with faulty(Fault(headers=(("content-type", SSE),), body=body)) as url, session() as http:
        to = target("openai", url, first_byte_s=0.05)
        async for piece in wires_over(http, counter())["openai"].stream(to, asked("openai")):
            seen += "".join(choice.content for choice in piece.choices)
            await asyncio.sleep(0.12)
    assert seen == "one two "


async def test_nobody_watches_an_answer_that_was_left() -> None:
    body = events(delta(content="one "), delta(content="two "), STOP) + b"data: [DONE]\n\n"
    async with faulty(Fault(headers=(("content-type", SSE),), body=body)) as url, session() as http:
        stream = wires_over(http, counter())["openai"].stream(target("openai", url, first_byte_s=0.05), asked("openai"))
        await anext(stream)
        watches = [one for one in gc.get_objects() if isinstance(one, _Patience)]
        await stream.aclose()
        await asyncio.sleep(0.12)
        assert watches and all(
            one._timer.cancelled() or one._timer.when() < asyncio.get_running_loop().time() for one in watches
        )


async def test_a_provider_that_falls_silent_is_left() -> None:
    fault = Fault(headers=(("content-type", SSE),), body=events(delta(content="one ")), hangs=True)
    seen = ""
    async with faulty(fault) as url, session() as http:
        with pytest.raises(faults.ProviderSlow):
            to = target("openai", url, first_byte_s=0.2)
            async for piece in wires_over(http, counter())["openai"].stream(to, asked("openai")):
                seen += piece.choices[0].content
                await asyncio.sleep(0.25)  # longer than the provider may take: its own silence is counted from then on
    assert seen == "one "
