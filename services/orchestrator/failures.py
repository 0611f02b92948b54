"""What the road itself refuses, and what it may do without."""

from dataclasses import dataclass, field

import grpc

from services.orchestrator.terms import Terms
from services.runtime.errors import Failure, Kind
from services.runtime.status import info_of

EVERYBODY = "*"
"""Stands for all accounts that have no entry of their own."""


UNANSWERED = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNIMPLEMENTED,
)
INSISTED = "CHECK_AWAY"
"""The guard is there, and says that a check which policy insists on is not."""


def away(error: grpc.aio.AioRpcError) -> bool:
    """Whether a service did not answer, as against refused."""
    return error.code() in UNANSWERED and info_of(error).reason != INSISTED


class PromptRefused(Failure):
    kind, reason = Kind.DENIED, "PROMPT_BLOCKED"
    text = "policy forbids this prompt: {rule}"
    field = "messages"


class NotCached(Failure):
    kind, reason = Kind.PRECONDITION, "NOT_CACHED"
    text = "no stored answer fits, and only a stored one was asked for ({why})"


class ModelNotAllowed(Failure):
    kind, reason = Kind.DENIED, "MODEL_NOT_ALLOWED"
    text = "the API key does not allow {model}"
    field = "model"


class RegionNotAllowed(Failure):
    kind, reason = Kind.DENIED, "REGION_NOT_ALLOWED"
    text = "the API key keeps its requests to regions that {model} is not known to run in"
    field = "model"


class DataKept(Failure):
    kind, reason = Kind.DENIED, "DATA_KEPT"
    text = "policy keeps {data_class} data from {model}"
    field = "model"


class OpenMissing(Failure):
    kind, reason = Kind.INVALID, "OPEN_MISSING"
    text = "the first message opens the session, and no other does"
    field = "open"


class EventUnfit(Failure):
    kind, reason = Kind.INVALID, "EVENT_UNFIT"
    text = "{at}: {rule}"


class SessionOutOfHand(Failure):
    kind, reason = Kind.UNAVAILABLE, "SESSION_OUT_OF_HAND"
    text = "{model}'s provider begins responses by itself, which nobody could hold for"


class NoModel(Failure):
    kind, reason = Kind.UNAVAILABLE, "ROUTER_AWAY"
    text = "the router is away and no default model is known"


class MessagesMissing(Failure):
    kind, reason = Kind.INVALID, "MESSAGES_MISSING"
    text = "the conversation is empty, and no template begins one"
    field = "chat.messages"


class ModelMissing(Failure):
    kind, reason = Kind.INVALID, "MODEL_MISSING"
    text = "no model is named, and no template names one"
    field = "chat.model"


class TextNotAlone(Failure):
    kind, reason = Kind.INVALID, "TEXT_NOT_ALONE"
    text = "a text is gone on from alone: one message of the user's, of one or two texts, without tools and without a template"
    field = "chat.messages"


class AuditAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "AUDIT_AWAY"
    text = "the audit log cannot be written, and nothing is erased unseen: {why}"


class ReviewRejected(Failure):
    kind, reason = Kind.DENIED, "REVIEW_REJECTED"
    text = "a person looked at the answer and rejected it: record {record_id}"


class StreamDeferred(Failure):
    kind, reason = Kind.INVALID, "STREAM_DEFERRED"
    text = "a stream cannot be deferred: its caller has the first words at once"
    field = "options.defer_after"


class ToolNotAllowed(Failure):
    kind, reason = Kind.DENIED, "TOOL_NOT_ALLOWED"
    text = "the API key does not allow {model}"
    field = "name"


class NoTools(Failure):
    kind, reason = Kind.NOT_FOUND, "NO_TOOLS"
    text = "no tool of these servers may be called: {servers}"
    field = "options.tools"


class ToolsAndChoices(Failure):
    kind, reason = Kind.INVALID, "TOOLS_AND_CHOICES"
    text = "tools are called for one answer alone: n must be 1"
    field = "chat.n"


class ToolWithheld(Failure):
    kind, reason = Kind.DENIED, "TOOL_WITHHELD"
    text = "policy withholds {tool} for what it says of itself: {rule}"
    field = "name"


class ArgumentsBlocked(Failure):
    kind, reason = Kind.DENIED, "ARGUMENTS_BLOCKED"
    text = "policy forbids these arguments: {rule}"
    field = "arguments_json"


class AddressMasked(Failure):
    kind, reason = Kind.DENIED, "ARGUMENTS_BLOCKED"
    text = "the address holds private data, and its server is not of the house"
    field = "uri"


class ResultBlocked(Failure):
    kind, reason = Kind.DENIED, "RESULT_BLOCKED"
    text = "policy keeps the result of {tool} back: {rule}"


class AllowanceUsedUp(Failure):
    kind, reason = Kind.UNAVAILABLE, "ALLOWANCE_USED_UP"
    text = "the ledger is away, and the allowance of {account} does not cover this request"


class BooksBehind(Failure):
    kind, reason = Kind.UNAVAILABLE, "BOOKS_BEHIND"
    text = "too many answers wait to be accounted for; try again soon"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What happens to a project's requests when a service on the road is away: `open` goes on without it."""

    cache: str = "open"
    router: str = "open"
    retrieval: str = "open"
    registry: str = "open"
    """`open` makes the prompt as it was last made for the same template and variables."""
    guard: str = "closed"
    """`open` sends prompts that nobody has inspected: for tests of other services, not for people's data."""
    ledger: str = "closed"
    """`open` answers within the allowance. The ledger's own leases bridge a database that is away."""
    allowance: Terms = field(default_factory=Terms)
    """What the ledger sets aside of the project's budgets, for `open`."""


USUAL = Dependencies()
"""Of projects that say nothing."""
