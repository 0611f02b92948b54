"""What can go wrong with a tool, as callers see it. No server's text passes: it may quote what it was asked."""

from services.runtime.errors import Failure, Kind


class ToolUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "TOOL_UNKNOWN"
    text = "there is no tool {tool}"
    field = "name"


class ToolChanged(Failure):
    kind, reason = Kind.PRECONDITION, "TOOL_CHANGED"
    text = "{tool} is not offered: {why}"
    field = "name"


class ToolAsks(Failure):
    kind, reason = Kind.PRECONDITION, "TOOL_ASKS"
    text = "{tool} wants to ask a person before it goes on, and nobody can be asked from here"


class PromptUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "PROMPT_UNKNOWN"
    text = "there is no prompt {prompt}"
    field = "name"


class ResourceUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "RESOURCE_UNKNOWN"
    text = "{why}"
    field = "uri"


class ServerRefused(Failure):
    kind, reason = Kind.INVALID, "SERVER_REFUSED"
    text = "{server} calls the request wrong ({code})"


class ArgumentsWrong(Failure):
    kind, reason = Kind.INVALID, "ARGUMENTS_WRONG"
    text = "the arguments of {tool}: {at}: {rule}"
    field = "arguments_json"


class ServerFull(Failure):
    kind, reason = Kind.EXHAUSTED, "SERVER_FULL"
    text = "{server} takes {limit} calls at once"


class ServerBusy(Failure):
    kind, reason = Kind.EXHAUSTED, "SERVER_BUSY"
    text = "{server} is busy ({status})"


class ServerDenied(Failure):
    kind, reason = Kind.PRECONDITION, "SERVER_DENIED"
    text = "{server} does not accept our key ({status})"


class TokenRefused(Failure):
    kind, reason = Kind.PRECONDITION, "SERVER_TOKEN_REFUSED"
    text = "the authorization server of {server} gives us no token: {why}"


class TokenAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "SERVER_TOKEN_AWAY"
    text = "the authorization server of {server} {why}"


class ServerAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "SERVER_AWAY"
    text = "{server} cannot be reached: {why}"


class ServerBroke(Failure):
    kind, reason = Kind.UNAVAILABLE, "SERVER_BROKE"
    text = "{server} broke: {why}"


class ServerSlow(Failure):
    kind, reason = Kind.TOO_LATE, "SERVER_SLOW"
    text = "{server} did not answer within {seconds:.3g} s"


class SessionOver(Exception):
    """The server has forgotten us, and has done nothing: we introduce ourselves, and ask again."""
