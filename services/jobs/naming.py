"""Whether a line of an uploaded file is an end user's request. Pure."""

from typing import Any

import msgspec

NAMES = ("user", "safety_identifier")
"""Fields of a request that name its end user, as OpenAI has them."""


def names(line: bytes, subject: str) -> bool:
    """Whether `line`, JSON as a batch has it, names `subject`; what is not JSON names nobody."""
    if subject.encode("utf-8", "surrogatepass") not in line and b"\\" not in line:
        return False
    try:
        said: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    body = said.get("body") if isinstance(said, dict) else None
    return any(isinstance(one, dict) and any(one.get(name) == subject for name in NAMES) for one in (said, body))
