"""Shortens a long conversation: what was said earlier and bears on the last question stays, the rest goes.

Instructions (system and developer messages), the last question and all after it, tools and their calls stay as they
are. Of what is said twice the later saying stays.
"""

from dataclasses import dataclass

import numpy as np
from tollway.chat.v1 import chat_pb2 as chat

from services.models.compression import Compressor
from services.models.counting import PER_MESSAGE
from services.models.sentences import Sentence, sentences

INSTRUCTIONS = (chat.ROLE_SYSTEM, chat.ROLE_DEVELOPER)
RECENT = 0.2
"""What the latest turn is worth more than the first."""
LEFT_OUT = "[...]"
"""Stands where a tool's result was left out altogether: its call wants an answer."""


@dataclass(frozen=True, slots=True)
class Shorter:
    chat: chat.ChatRequest
    tokens_before: int
    tokens_after: int
    messages_dropped: int


async def shortened(compressor: Compressor, request: chat.ChatRequest, budget: int) -> Shorter:
    """`request` with its earlier turns cut to what fits into `budget` tokens; itself when it fits."""
    count = compressor.count
    before = count.prompt(request)
    last = _last_question(request)
    old = [n for n in range(last) if request.messages[n].role not in INSTRUCTIONS]
    if before <= budget or not old:
        return Shorter(request, before, before, 0)
    places = [
        (n, k) for n in old for k, part in enumerate(request.messages[n].parts) if part.WhichOneof("part") == "text"
    ]
    parts = [
        one for at, (n, k) in enumerate(places) for one in sentences(at, request.messages[n].parts[k].text, count.text)
    ]
    movable = sum(one.tokens for one in parts) + PER_MESSAGE * len(old)
    room = max(budget - (before - movable) - PER_MESSAGE * len(old) // 2, 0)
    query = "\n".join(part.text for part in request.messages[last].parts if part.text)
    newer = np.array([RECENT * places[one.passage][0] / max(last, 1) for one in parts])
    kept = await compressor.parts(parts, query, room, newer) if parts else []
    made, dropped = _rewritten(request, places, parts, kept, set(old))
    return Shorter(made, before, count.prompt(made), dropped)


def _last_question(request: chat.ChatRequest) -> int:
    """Where the last user message stands; the end when there is none."""
    users = [n for n, message in enumerate(request.messages) if message.role == chat.ROLE_USER]
    return users[-1] if users else len(request.messages) - 1


def _rewritten(
    request: chat.ChatRequest, places: list[tuple[int, int]], parts: list[Sentence], kept: list[bool], old: set[int]
) -> tuple[chat.ChatRequest, int]:
    texts = dict.fromkeys(places, "")
    for one, stays in zip(parts, kept, strict=True):
        texts[places[one.passage]] += one.text if stays else ""
    made, dropped = chat.ChatRequest(), 0
    made.CopyFrom(request)
    del made.messages[:]
    for n, message in enumerate(request.messages):
        if n not in old:
            made.messages.append(message)
            continue
        short = chat.Message()
        short.CopyFrom(message)
        del short.parts[:]
        for k, part in enumerate(message.parts):
            if part.WhichOneof("part") != "text":
                short.parts.append(part)
            elif text := texts[n, k].strip():
                short.parts.add(text=text)
        if message.role == chat.ROLE_TOOL and not short.parts:
            short.parts.add(text=LEFT_OUT)
        if short.parts or short.tool_calls:
            made.messages.append(short)
        else:
            dropped += 1
    return made, dropped
