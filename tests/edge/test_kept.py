"""What is kept of a response: put together from its pieces, and given up where nobody keeps it."""

import asyncio
import itertools
from typing import Any
from uuid import uuid4

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2

from services.edge.kept import AGAIN_S, Keeping, Kept
from services.edge.wire.gathered import Gathered
from services.runtime.errors import Failure
from tests.support.refusals import failing

WORDS = st.text("ab c", max_size=12)


def deltas(text: str, cuts: list[int], field: str) -> list[chat.ChoiceDelta]:
    """`text` in pieces."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [chat.ChoiceDelta(**{field: text[a:b]}) for a, b in itertools.pairwise(places)]  # type: ignore[arg-type]


def calls(arguments: list[str], cuts: list[int]) -> list[chat.ChoiceDelta]:
    made = []
    for n, said in enumerate(arguments):
        first = chat.ToolCallDelta(index=n, id=f"call_{n}", name="weather")
        rest = [chat.ToolCallDelta(index=n, arguments=one.content) for one in deltas(said, cuts, "content")]
        made += [chat.ChoiceDelta(tool_calls=[one]) for one in (first, *rest)]
    return made


@given(WORDS, WORDS, st.lists(WORDS, max_size=3), st.lists(st.integers(0, 99), max_size=4))
def test_an_answer_in_pieces_is_the_same_answer(thought: str, text: str, arguments: list[str], cuts: list[int]) -> None:
    gathered = Gathered()
    pieces = [*deltas(thought, cuts, "reasoning"), *deltas(text, cuts, "content"), *calls(arguments, cuts)]
    for piece in (*pieces, chat.ChoiceDelta(finish_reason=chat.FINISH_REASON_STOP)):
        gathered.add(chat.ChatChunk(choices=[piece, chat.ChoiceDelta(index=1, content="another choice's")]))
    last = pb.StreamCompleteResponse(
        chunk=chat.ChatChunk(id="c1", model="echo", usage=chat.Usage(output_tokens=3)), road=pb.Road(trace_id="t")
    )
    parts = [chat.ContentPart(text=text)] if text else []
    tools = [chat.ToolCall(id=f"call_{n}", name="weather", arguments=said) for n, said in enumerate(arguments)]
    said = chat.Message(role=chat.ROLE_ASSISTANT, reasoning=thought, parts=parts, tool_calls=tools)
    choice = chat.Choice(message=said, finish_reason=chat.FINISH_REASON_STOP)
    whole = chat.ChatCompletion(id="c1", model="echo", choices=[choice], usage=chat.Usage(output_tokens=3))
    assert gathered.whole(last) == pb.CompleteResponse(completion=whole, road=pb.Road(trace_id="t"))


class Jobs:
    """Keeps nothing, for the reason it is given."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self.code = code

    async def KeepAnswer(self, request: jobs_pb2.KeepAnswerRequest, **_: Any) -> jobs_pb2.KeepAnswerResponse:
        raise failing(self.code)


class Away(Failure):
    text = "away"


async def away() -> None:
    await asyncio.sleep(0)
    raise Away


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED])
async def test_an_answer_goes_out_that_nobody_keeps(code: grpc.StatusCode) -> None:
    now = 100.0
    kept = Kept(Jobs(code), away, Keeping(), now=lambda: now)  # type: ignore[arg-type]
    assert await kept.wanted(None)
    assert not await kept.keep(str(uuid4()), jobs_pb2.Chat(), 1_700_000_000, pb.CompleteResponse())
    assert not await kept.wanted(None), "nobody waits for what was away a moment ago"
    now += AGAIN_S
    assert await kept.wanted(None)


async def test_whoever_insists_is_refused_before_anything_is_asked() -> None:
    kept = Kept(Jobs(grpc.StatusCode.UNAVAILABLE), away, Keeping())  # type: ignore[arg-type]
    with pytest.raises(Away):
        await kept.wanted(True)
    assert await kept.wanted(None) and not await kept.wanted(False)
    assert not await Kept(kept.jobs, away, Keeping(unasked=False)).wanted(None)
