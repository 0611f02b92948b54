"""What a provider wants back with a tool call, beside the call, as Google's OpenAI-compatible interface has it."""

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
