"""What can go wrong with a provider, as callers see it. No provider's text passes: it may quote a prompt."""

from services.runtime.errors import Failure, Kind
from services.runtime.secrets import SecretMissing


class ModelUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "MODEL_UNKNOWN"
    text = "there is no model {model}"
    field = "model"


class ProviderRefused(Failure):
    kind, reason = Kind.INVALID, "PROVIDER_REFUSED"
    text = "{model}'s provider calls the request wrong ({status}{about})"


class ProviderDenied(Failure):
    kind, reason = Kind.PRECONDITION, "PROVIDER_DENIED"
    text = "{model}'s provider does not accept our key ({status})"


class ProviderBusy(Failure):
    kind, reason = Kind.EXHAUSTED, "PROVIDER_BUSY"
    text = "{model}'s provider is busy ({status})"


class ProviderAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "PROVIDER_AWAY"
    text = "{model}'s provider cannot be reached: {why}"


class ProviderBroke(Failure):
    kind, reason = Kind.UNAVAILABLE, "PROVIDER_BROKE"
    text = "{model}'s provider broke: {why}"


class ProviderSlow(Failure):
    kind, reason = Kind.TOO_LATE, "PROVIDER_SLOW"
    text = "{model}'s provider said nothing for {seconds} s"


class Overloaded(Failure):
    kind, reason = Kind.EXHAUSTED, "OVERLOADED"
    text = "{model} bears {limit} calls at once, and no more of this caller's now"


class TooLate(Failure):
    kind, reason = Kind.TOO_LATE, "TOO_LATE"
    text = "{model} usually takes {seconds} s, and the caller waits no longer than that"


class Unsupported(Failure):
    kind, reason = Kind.INVALID, "UNSUPPORTED"
    text = "{model} cannot {what}"
    field = "model"


AT_FAULT = (ProviderBusy, ProviderAway, ProviderBroke, ProviderSlow)
"""These count against the deployment that was asked."""
WORTH_ANOTHER = (*AT_FAULT, ProviderDenied, SecretMissing, Overloaded)
"""After these the next candidate may do better; after the others it would not."""
