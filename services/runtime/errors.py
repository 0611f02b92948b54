"""Refusals that a caller can act on. Domain code raises them; it never sees gRPC."""

from enum import Enum
from typing import ClassVar


class Kind(Enum):
    """What a caller can do about a failure. `runtime.status` gives each its gRPC code."""

    INVALID = "mend the request"
    UNAUTHENTICATED = "show a valid identity"
    DENIED = "ask somebody who may allow it"
    NOT_FOUND = "name something that exists"
    REUSED = "choose another id"
    PRECONDITION = "bring the system into another state first"
    EXHAUSTED = "wait, or ask for more"
    TOO_LATE = "allow more time"
    UNAVAILABLE = "try again soon"


class Failure(Exception):
    """One subclass for each reason. The text is made from the facts, so the two cannot disagree."""

    kind: ClassVar[Kind]
    reason: ClassVar[str]
    """UPPER_SNAKE_CASE and part of the contract: callers branch on it."""
    text: ClassVar[str]
    field: ClassVar[str | None] = None
    """The request's field at fault, where there is one: travels as `google.rpc.BadRequest`."""

    def __init__(self, *, retry_after_s: float | None = None, quota: str | None = None, **facts: object) -> None:
        super().__init__(self.text.format_map(facts))
        self.facts = {name: str(value) for name, value in facts.items()}
        self.retry_after_s = retry_after_s
        """When trying again makes sense: travels as `google.rpc.RetryInfo`."""
        self.quota = quota
        """The budget or limit that was met: travels as `google.rpc.QuotaFailure`."""
