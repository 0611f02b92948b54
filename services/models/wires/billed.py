"""What providers bill apart, as their usage tells it. Pure."""

import re

from tollway.chat.v1 import chat_pb2 as chat

USUAL = frozenset({"auto", "default", "standard", "on_demand"})
"""Words for the tier of service that prices are of, where nothing else is said."""
WORD = re.compile(r"[a-z0-9_-]{1,32}")


def kinds(**counts: int | None) -> chat.TokenKinds | None:
    """None where nothing is billed apart."""
    told = {name: count for name, count in counts.items() if count}
    return chat.TokenKinds(**told) if told else None


def tier(said: object) -> str:
    """Empty for the usual one, and for what is no word."""
    return said if isinstance(said, str) and WORD.fullmatch(said) and said not in USUAL else ""
