"""What an answer depends on, as hashes. Pure."""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from tollway.cache.v1 import cache_pb2 as pb
from tollway.chat.v1 import chat_pb2 as chat

from services.runtime.sieves import sieve
from services.runtime.subjects import digest

TIMELY = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|currently?|latest|recent(?:ly)?|this (?:week|month|year|morning|evening)|"
    r"right now|at the moment|news|weather|forecast|stock price|exchange rate|score|heute|morgen|gestern|aktuell\w*|"
    r"aujourd'hui|maintenant|hoy|ahora|mañana|oggi|adesso|vandaag|nu)\b",
    re.IGNORECASE,
)
PERSONAL = re.compile(
    r"\b(?:my|our|mein\w*|unser\w*|mon|ma|mes|mi|mis|mio|mia|mijn)\s+(?:own\s+)?(?:account|balance|order|orders|name|address|"
    r"card|salary|subscription|invoice|booking|password|email|e-mail|phone|birthday|health|doctor|boss|wife|husband|"
    r"konto|bestellung|adresse|compte|commande|cuenta|pedido|conto|ordine|rekening|bestelling)\b|\bwho am i\b",
    re.IGNORECASE,
)
TIMELY_OR_PERSONAL = sieve((TIMELY.pattern, PERSONAL.pattern), ignores_case=True)
WARM = 1.0
"""Above this temperature the caller asks for chance: answers are not reused."""
STEADY, LIVELY = 0.0, 1.0
"""What stands for the temperatures up to [STEADIEST][], and for those up to [WARM][]."""
STEADIEST = 0.3
WHOLE = (chat.FINISH_REASON_STOP, chat.FINISH_REASON_TOOL_CALLS)
CUT = (*WHOLE, chat.FINISH_REASON_LENGTH)
"""Also ended: a text goes on for as many tokens as are asked for, and is served to whoever asks for as many."""


@dataclass(frozen=True, slots=True)
class Keys:
    tenant: str
    scope: str
    """Equal for requests whose answers may be exchanged when their last texts mean the same."""
    exact: str
    """Equal for the same request."""
    text: str
    """The last user message; '' when it is not text alone."""
    subject: str = field(default="", compare=False)
    """Digest of the end user who asks; no part of what an answer depends on."""


def keys(
    request: chat.ChatRequest, conditions: pb.Conditions, scope: "pb.Scope.ValueType", account: str, key_id: str
) -> Keys:
    """Keys of a request of `account`. Labels, the end user's name, the tier of service and marks for a
    provider's own cache do not change an answer and do not count."""
    tenant, _, _ = account.partition("/")
    owner = {pb.SCOPE_TENANT: tenant, pb.SCOPE_KEY: f"{account}#{key_id}"}.get(scope, account)
    found = _keys(request.SerializeToString(), conditions.SerializeToString(deterministic=True), tenant, owner)
    return replace(found, subject=digest(tenant, request.user)) if request.user else found


@lru_cache(maxsize=2048)  # a miss is looked up and then stored under the same keys
def _keys(raw: bytes, said: bytes, tenant: str, owner: str) -> Keys:
    bare = chat.ChatRequest.FromString(raw)
    bare.ClearField("user")
    bare.ClearField("metadata")
    bare.ClearField("include_usage")
    bare.ClearField("service_tier")
    for message in bare.messages:
        for part in message.parts:
            part.ClearField("cache_mark")
    whole = sha256(b"\0".join((owner.encode(), said, bare.SerializeToString(deterministic=True)))).hexdigest()
    text = "" if bare.text_completion else last_text(bare)  # what goes on from a text goes on from no other
    if text:
        del bare.messages[-1].parts[:]
    if bare.HasField("temperature") and bare.temperature <= WARM:
        bare.temperature = STEADY if bare.temperature <= STEADIEST else LIVELY
    rest = sha256(b"\0".join((owner.encode(), said, bare.SerializeToString(deterministic=True)))).hexdigest()
    return Keys(tenant, rest, whole, text)


def last_text(request: chat.ChatRequest) -> str:
    """The last message, where it is a user's and text alone."""
    last = request.messages[-1]
    if last.role != chat.ROLE_USER or len(last.parts) != 1:
        return ""
    return last.parts[0].text


def unfit(request: chat.ChatRequest, made: chat.ChatCompletion | None = None) -> str:
    """Why an answer, or any answer, is not kept unless asked; '' when it is."""
    whole = CUT if request.text_completion else WHOLE
    if made is not None and (not made.choices or any(one.finish_reason not in whole for one in made.choices)):
        return "INCOMPLETE"
    text = last_text(request)
    if request.tools or (made is not None and any(choice.message.tool_calls for choice in made.choices)):
        return "TOOL_CALLS"
    if request.HasField("temperature") and request.temperature > WARM:
        return "RANDOM"
    if request.HasField("web_search"):
        return "WEB_SEARCH"
    if not TIMELY_OR_PERSONAL.Match(text):
        return ""
    if TIMELY.search(text):
        return "TIME_SENSITIVE"
    return "PERSONAL" if PERSONAL.search(text) else ""
