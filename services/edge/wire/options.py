"""How one request is to be treated: the body's `tollway` object, and `X-Tollway-*` headers over it."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from google.protobuf.duration_pb2 import Duration
from msgspec import Meta, Struct
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2
from tollway.router.v1 import router_pb2

from services.edge.wire.errors import Refusal, of_body
from services.edge.wire.facts import Filter, filtered
from services.edge.wire.tool_use import MOST_CALLS, Server, ToolName

NANO = 1_000_000_000
LONGEST_WAIT_S = 600.0
LONGEST_KEPT_S = 31_622_400.0
LABELS = "x-tollway-labels"
MOST_LABELS, LONGEST_NAME, LONGEST_VALUE = 16, 64, 512
Name = Annotated[str, Meta(max_length=64, pattern="^[a-z0-9_.-]*$")]


class Grounding(Struct, forbid_unknown_fields=True):
    collection: Name = ""
    limit: Annotated[int, Meta(ge=0, le=100)] = 0
    groups: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=256)] = []
    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    collections: Annotated[list[Name], Meta(max_length=8)] = []
    attributes: Annotated[dict[str, str], Meta(max_length=32)] = {}
    filters: Filter | None = None


class Cache(Struct, forbid_unknown_fields=True):
    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    scope: Literal["project", "tenant", "key"] = "project"
    store_anyway: bool = False
    ttl_s: Annotated[float, Meta(gt=0, le=LONGEST_KEPT_S)] | None = None
    max_stale_s: Annotated[float, Meta(ge=0, le=LONGEST_KEPT_S)] | None = None


class Tools(Struct, forbid_unknown_fields=True):
    servers: Annotated[list[Server], Meta(max_length=64)] = []
    tools: Annotated[list[ToolName], Meta(max_length=512)] = []
    most_calls: Annotated[int, Meta(ge=0, le=MOST_CALLS)] = 0


class TollwayBody(Struct, forbid_unknown_fields=True):
    grounding: Grounding | None = None
    cache: Cache | None = None
    routing: Literal["cheapest_above", "best_under_price", "fastest"] | None = None
    priority: Literal["low", "normal", "high"] | None = None
    context_tokens: Annotated[int, Meta(ge=1, le=100_000_000)] | Literal["fit"] | None = None
    max_cost_usd: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    defer_after_s: Annotated[float, Meta(gt=0, le=LONGEST_WAIT_S)] | None = None
    tools: Tools | None = None


_BODY = msgspec.json.Decoder(TollwayBody)
FIT = "fit"
"""What the model holds that is asked first."""
SCOPES = {"project": cache_pb2.SCOPE_PROJECT, "tenant": cache_pb2.SCOPE_TENANT, "key": cache_pb2.SCOPE_KEY}
FLAGS = ("no-cache", "no-store", "only-if-cached")
AGES = {"max-age": "max_age", "max-stale": "max_stale", "stale-while-revalidate": "max_stale", "ttl": "ttl"}
CONTROLS = (
    "no-cache, no-store, only-if-cached, max-age=SECONDS, max-stale=SECONDS, ttl=SECONDS, scope=project|tenant|key"
)
ROUTING = {
    "cheapest_above": router_pb2.POLICY_CHEAPEST_ABOVE,
    "best_under_price": router_pb2.POLICY_BEST_UNDER_PRICE,
    "fastest": router_pb2.POLICY_FASTEST,
}
PRIORITY = {
    "low": models_pb2.PRIORITY_LOW,
    "normal": models_pb2.PRIORITY_NORMAL,
    "high": models_pb2.PRIORITY_HIGH,
}


def options(raw: bytes, headers: Mapping[bytes, bytes]) -> pb.Options:
    """
    Raises:
        Refusal: an unknown word or a value out of range, in either place.
    """
    made = pb.Options()
    if raw:
        _from_body(made, raw)
    made.idempotency_key = idempotency_key(headers)
    for name, value in headers.items():
        if name == b"cache-control":
            for word in value.decode("latin-1").lower().replace(",", " ").split():
                _controlled(made.cache, word)  # as RFC 9111 has it, what is unknown is passed over
        elif name.startswith(b"x-tollway-"):
            _from_header(made, name.decode("latin-1"), value.decode("latin-1").strip())
    return made


def label(asked: chat.ChatRequest, headers: Mapping[bytes, bytes]) -> None:
    """Labels that stand in a header go beside those of the body, and over them.

    Raises:
        Refusal: a label without a name or with too long a one, or too many.
    """
    if not (said := headers.get(LABELS.encode())):
        return
    asked.metadata.update(labelled(said))
    if len(asked.metadata) > MOST_LABELS:
        raise _bad(LABELS, f"at most {MOST_LABELS}, with those of the body")


def labelled(said: bytes) -> dict[str, str]:
    """The labels of a header; see `label`."""
    made = dict[str, str]()
    for one in said.decode("latin-1").split(","):
        name, equals, value = map(str.strip, one.partition("="))
        if not (name and equals and len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE):
            raise _bad(LABELS, "NAME=VALUE, between commas")
        made[name] = value
    if len(made) > MOST_LABELS:
        raise _bad(LABELS, f"at most {MOST_LABELS}, with those of the body")
    return made


def _from_body(made: pb.Options, raw: bytes) -> None:
    try:
        said = _BODY.decode(raw)
    except msgspec.MsgspecError as error:
        refusal = of_body(error)
        raise Refusal(400, refusal.code, refusal.message, param=f"tollway.{refusal.param or ''}".rstrip(".")) from None
    if said.grounding is not None:
        asked = said.grounding
        made.grounding.SetInParent()
        made.grounding.collection, made.grounding.limit = asked.collection, asked.limit
        made.grounding.max_tokens = asked.max_tokens
        made.grounding.groups.extend(asked.groups)
        made.grounding.collections.extend(asked.collections)
        made.grounding.attributes.update(asked.attributes)
        filtered(made.grounding, asked.filters, "tollway.grounding.filters")
    if said.cache is not None:
        wanted = said.cache
        controls = made.cache
        controls.no_cache, controls.no_store = wanted.no_cache, wanted.no_store
        controls.only_if_cached, controls.store_anyway = wanted.only_if_cached, wanted.store_anyway
        controls.scope = SCOPES[wanted.scope]
        if wanted.max_age_s is not None:
            controls.max_age.CopyFrom(Duration(seconds=int(wanted.max_age_s)))
        if wanted.ttl_s is not None:
            controls.ttl.FromNanoseconds(int(wanted.ttl_s * NANO))
        if wanted.max_stale_s is not None:
            controls.max_stale.FromNanoseconds(int(wanted.max_stale_s * NANO))
    if said.tools is not None:
        used = made.tools
        used.SetInParent()
        used.servers.extend(said.tools.servers)
        used.tools.extend(said.tools.tools)
        used.most_calls = said.tools.most_calls
    if said.routing is not None:
        made.routing = ROUTING[said.routing]
    if said.priority is not None:
        made.priority = PRIORITY[said.priority]
    if said.context_tokens == FIT:
        made.fit_context = True
    elif isinstance(said.context_tokens, int):
        made.context_tokens = said.context_tokens
    if said.defer_after_s is not None:
        made.defer_after.FromNanoseconds(int(said.defer_after_s * NANO))
    if said.max_cost_usd is not None:
        made.cost_ceiling_nano_usd = int(said.max_cost_usd * NANO)


def _from_header(made: pb.Options, name: str, value: str) -> None:
    match name:
        case "x-tollway-cache":
            for word in value.replace(",", " ").split():
                if not _controlled(made.cache, word):
                    raise _bad(name, CONTROLS)
        case "x-tollway-routing":
            if value not in ROUTING:
                raise _bad(name, ", ".join(ROUTING))
            made.routing = ROUTING[value]
        case "x-tollway-priority":
            if value not in PRIORITY:
                raise _bad(name, ", ".join(PRIORITY))
            made.priority = PRIORITY[value]
        case "x-tollway-context-tokens" if value == FIT:
            made.fit_context = True
        case "x-tollway-context-tokens":
            if not value.isdecimal() or not 0 < int(value) <= 100_000_000:
                raise _bad(name, "a number of tokens, such as 8000, or fit")
            made.context_tokens = int(value)
        case "x-tollway-max-cost":
            made.cost_ceiling_nano_usd = int(_number(name, value, 1e6, "dollars, such as 0.02") * NANO)
        case "x-tollway-defer-after":
            seconds = _number(name, value, LONGEST_WAIT_S, f"seconds up to {LONGEST_WAIT_S:g}, such as 2.5")
            made.defer_after.FromNanoseconds(int(seconds * NANO))
        case "x-tollway-grounding":
            made.grounding.SetInParent()
            made.grounding.collection = "" if value in ("*", "") else value
        case _:
            return  # others may mean something to a proxy between us


def _controlled(controls: cache_pb2.Controls, word: str) -> bool:
    """Sets what one directive asks for; False for one that says nothing to a cache of answers."""
    name, _, value = word.partition("=")
    if name in FLAGS and not value:
        setattr(controls, name.replace("-", "_"), True)
    elif name == "scope" and value in SCOPES:
        controls.scope = SCOPES[value]
    elif name in AGES and value.isdecimal() and int(value) <= LONGEST_KEPT_S and (int(value) or name != "ttl"):
        getattr(controls, AGES[name]).FromSeconds(int(value))
    else:
        return False
    return True


def _number(name: str, value: str, most: float, allowed: str) -> float:
    """
    Raises:
        Refusal: no number, or one that is not above zero and up to `most`.
    """
    try:
        number = float(value)
    except ValueError:
        raise _bad(name, allowed) from None
    if not 0 < number <= most:
        raise _bad(name, allowed)
    return number


def _bad(name: str, allowed: str) -> Refusal:
    return Refusal(400, "invalid_value", f"invalid value for header {name}: allowed are {allowed}", param=name)


def idempotency_key(headers: Mapping[bytes, bytes]) -> str:
    """By which a repeated request is known; '' where the caller names none.

    Raises:
        Refusal: too long, or beyond ASCII.
    """
    return _word(headers.get(b"idempotency-key", b""), "Idempotency-Key", 64)


def _word(raw: bytes, name: str, most: int) -> str:
    if len(raw) > most or not raw.isascii():
        raise Refusal(
            400, "invalid_value", f"invalid value for header {name}: at most {most} ASCII characters", param=name
        )
    return raw.decode()
