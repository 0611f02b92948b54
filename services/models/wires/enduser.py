"""What a provider hears of an end user."""

import re
from hashlib import sha256

OPAQUE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every provider takes: OpenAI's no more letters, Anthropic no others."""


def opaque(user: str) -> str:
    """A name by which a provider knows the user again, and nobody else: an address is no such name, and stays here."""
    return user if OPAQUE.fullmatch(user) else sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
