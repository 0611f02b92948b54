"""What a provider wants back with what its model said: beside a tool call, as Google's OpenAI-compatible interface has it, and with what
was thought, as LiteLLM and OpenAI's Responses have it."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Struct

Signature = Annotated[str, Meta(max_length=1 << 17, pattern="^[A-Za-z0-9+/_=-]*$")]
"""Base64 in either alphabet: no text, since the guard does not read it."""


class Google(Struct):
    thought_signature: Signature | None = None


class Extra(Struct):
    """`extra_content` of a tool call."""

    google: Google | None = None

    @property
    def signature(self) -> str:
        return (self.google.thought_signature or "") if self.google is not None else ""


def extra(signature: str) -> dict[str, Any]:
    """The field to stand beside a call; none where there is nothing to hand back."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


class ThinkingBlock(Struct):
    """What was thought, where OpenAI's wire has no word for it: as LiteLLM has it."""

    type: str = "thinking"
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


def blocks(reasoning: str, thoughts: Iterable[str]) -> list[dict[str, str]]:
    """Thinking blocks: the first with what was thought, each with what is to be handed in again."""
    return [
        {"type": "thinking", "thinking": "" if n else reasoning, "signature": one} for n, one in enumerate(thoughts)
    ]


def encrypted(thoughts: Iterable[str]) -> dict[str, str]:
    """What an item of what was thought says beside its summary; none where there is nothing to hand in again."""
    said = PARTS.join(thoughts)
    return {"encrypted_content": said} if said else {}


PARTS = "."
"""Between thoughts: no letter of theirs."""


def handed_in(signatures: Iterable[str | None]) -> list[str]:
    """Those that can be ours: another gateway's, or the provider's own, say nothing to the models service."""
    return [one for one in signatures if one and SEALED.fullmatch(one)]


SEALED = re.compile("[A-Za-z0-9_=-]{1,4194304}")
