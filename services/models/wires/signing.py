"""What Gemini's models want back with their calls of tools: the signature of the thought that led there."""

import re

from tollway.chat.v1 import chat_pb2 as chat

SIGNS = re.compile(r"gemini-(?:[3-9]|\d\d)")
"""Models that refuse a call of theirs, the first of a turn, which comes back without its signature."""
BASE64 = re.compile("[A-Za-z0-9+/_=-]+")
UNSIGNED = "skip_thought_signature_validator"
"""In its place, of calls that another model made or whose client dropped it: what Google checks nothing of."""


def signature(model: str, call: chat.ToolCall, place: int) -> str:
    """To be sent to `model` with the call at `place` of a turn; '' for none."""
    if "gemini" in model.lower() and BASE64.fullmatch(call.signature):
        return call.signature
    return UNSIGNED if not place and SIGNS.search(model) else ""
