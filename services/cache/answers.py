"""Compares what two answers say: a model's own, and the one that a hit gave."""

from hashlib import blake2b

from tollway.chat.v1 import chat_pb2 as chat

from services.cache.plain import marked, spoken
from services.cache.verifier import Verifier

ALIKE, UNLIKE = 0.85, 0.6
"""Likeness by MiniLM from which two answers say the same, and below which they do not."""
SHORT = 200
"""Characters up to which every number in an answer counts."""


def said(made: chat.ChatCompletion) -> str:
    """The text of an answer, with the tools it calls."""
    parts = []
    for choice in made.choices:
        parts += [part.text for part in choice.message.parts]
        parts += [f"{call.name}({call.arguments})" for call in choice.message.tool_calls]
    return "\n".join(parts).strip()


def digest(made: chat.ChatCompletion) -> str:
    """Equal for answers that say the same, word for word."""
    return blake2b(" ".join(said(made).split()).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


async def same(verifier: Verifier, one: str, other: str) -> bool | None:
    """Whether two answers say the same; None where that cannot be told."""
    a, b = spoken(one), spoken(other)
    if a == b:
        return True
    if not a or not b:
        return False
    if max(len(one), len(other)) <= SHORT and {w for w in a if marked(w)} != {w for w in b if marked(w)}:
        return False
    first, second = await verifier.minilm([one, other])
    likeness = float(first @ second)
    return True if likeness >= ALIKE else False if likeness < UNLIKE else None
