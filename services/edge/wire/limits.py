"""What a caller may still ask for, in the headers that clients pace themselves by: OpenAI's names, and Anthropic's."""

import time
from collections.abc import Iterable, Mapping

from tollway.ledger.v1 import ledger_pb2

Headers = list[tuple[bytes, bytes]]

NAMES = {ledger_pb2.UNIT_REQUESTS: "requests", ledger_pb2.UNIT_TOKENS: "tokens"}
LONGEST_WAIT_S = 60.0
"""What the SDKs wait for by themselves; told to wait longer, they would ask again in seconds."""


def openai(limits: Iterable[ledger_pb2.RateLimit]) -> Headers:
    """`x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests` ("6m0s"); the same of tokens."""
    made: Headers = []
    for one in limits:
        said = _openai(NAMES[one.unit], one.limit, one.remaining, one.resets.ToMilliseconds() / 1000 - time.time())
        made += [(name.encode(), value.encode()) for name, value in said.items()]
    return made


def anthropic(limits: Iterable[ledger_pb2.RateLimit]) -> Headers:
    """`anthropic-ratelimit-requests-limit`, `-remaining`, `-reset` (RFC 3339); the same of tokens."""
    made: Headers = []
    for one in limits:
        said = {"limit": str(one.limit), "remaining": str(one.remaining), "reset": one.resets.ToJsonString()}
        made += [
            (f"anthropic-ratelimit-{NAMES[one.unit]}-{name}".encode(), value.encode()) for name, value in said.items()
        ]
    return made


def passes(facts: Mapping[str, str]) -> bool:
    """Whether a budget that refuses, by the facts of `BUDGET_EXCEEDED`, is a limit on pace or on what is under way, which comes back by
    itself. Any other is a quota."""
    return facts.get("rate_limit") == "true"


def refused(facts: Mapping[str, str], wait_s: float | None) -> dict[str, str]:
    """Headers of a refusal by a budget; SDKs heed `x-should-retry`."""
    soon = passes(facts) and (wait_s is None or wait_s <= LONGEST_WAIT_S)
    told = {} if soon else {"x-should-retry": "false"}
    if wait_s is None or not passes(facts):
        return told
    return told | _openai(facts["unit"], int(facts["limit"]), int(facts["available"]), wait_s)


def _openai(name: str, limit: int, remaining: int, left_s: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": str(limit),
        f"x-ratelimit-remaining-{name}": str(remaining),
        f"x-ratelimit-reset-{name}": span(left_s),
    }


def span(seconds: float) -> str:
    """As OpenAI says how long something takes: "120ms", "7.5s", "6m0s", "17h23m4s"."""
    whole = max(round(seconds * 1000), 0)
    if whole < 1000:
        return f"{whole}ms"
    minutes, left = divmod(whole, 60_000)
    if not minutes:
        return f"{left / 1000:g}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{left // 1000}s" if hours else f"{minutes}m{left // 1000}s"
