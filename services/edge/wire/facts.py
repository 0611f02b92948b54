"""OpenAI's filters over a document's facts, in our words, and back. Facts are kept as texts: a number or a truth is told as JSON writes it."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.edge.wire.errors import Refusal

DEEPEST, MOST_FACTS = 8, 64
"""Levels of filters within filters, and facts in all, as retrieval takes them."""
WORDS = {False: ("eq", "in"), True: ("ne", "nin")}
"""What a fact is called, by whether it is turned round: with one value and with several."""

Key = Annotated[str, Meta(min_length=1, max_length=64)]
Value = Annotated[str, Meta(max_length=512)] | bool | float
Values = Annotated[list[Value], Meta(min_length=1, max_length=64)]
Bound = Annotated[float, Meta(ge=-1e300, le=1e300)]
Parts = Annotated[list["Filter"], Meta(min_length=1, max_length=32)]


class _Said(Struct, forbid_unknown_fields=True, tag_field="type"):
    """A filter, by its `type`."""


class _Equal(_Said):
    key: Key
    value: Value


class _Listed(_Said):
    key: Key
    value: Values


class _Bounded(_Said):
    key: Key
    value: Bound


class _Several(_Said):
    filters: Parts


class Equal(_Equal, tag="eq"): ...


class Unequal(_Equal, tag="ne"): ...


class Among(_Listed, tag="in"): ...


class NotAmong(_Listed, tag="nin"): ...


class Above(_Bounded, tag="gt"): ...


class AtLeast(_Bounded, tag="gte"): ...


class Below(_Bounded, tag="lt"): ...


class AtMost(_Bounded, tag="lte"): ...


class And(_Several, tag="and"): ...


class Or(_Several, tag="or"): ...


Filter = Equal | Unequal | Among | NotAmong | Above | AtLeast | Below | AtMost | And | Or


def filtered(made: pb.SearchRequest | gateway_pb2.Grounding, said: Filter | None, at: str = "filters") -> None:
    """Says in `made` what must hold of a document's facts, beside what it says already; `at` is the field's name.

    Raises:
        Refusal: filters stand too deep within each other, or are too many.
    """
    if said is None:
        return
    if _named(said) > MOST_FACTS:
        raise Refusal(400, "invalid_value", f"filters name at most {MOST_FACTS} facts", param=at)
    equal = _equal(said)
    if equal is not None and all(made.attributes.get(name, value) == value for name, value in equal.items()):
        made.attributes.update(equal)  # as releases before 0.19 understand it, too
        return
    where = _where(said, at)
    both = pb.Where(all=pb.Where.Several(parts=[made.where, where]))
    made.where.CopyFrom(both if made.HasField("where") else where)


def told(made: gateway_pb2.Grounding) -> dict[str, Any] | None:
    """The filters, as a response repeats them."""
    parts = [{"type": "eq", "key": key, "value": value} for key, value in sorted(made.attributes.items())]
    if made.HasField("where"):
        parts.append(_said(made.where))
    if not parts:
        return None
    return parts[0] if made.HasField("where") and len(parts) == 1 else {"type": "and", "filters": parts}


def word(value: Value) -> str:
    """A value as a document keeps it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return orjson.dumps(value).decode()


def _named(said: Filter) -> int:
    return sum(map(_named, said.filters)) if isinstance(said, And | Or) else 1


def _equal(said: Filter) -> Mapping[str, str] | None:
    """Values by name, where that is all that is said; None where it is not, or two are asked for of one fact."""
    match said:
        case Equal():
            return {said.key: word(said.value)}
        case And():
            made: dict[str, str] = {}
            for one in said.filters:
                part = _equal(one)
                if part is None or any(made.get(name, value) != value for name, value in part.items()):
                    return None
                made |= part
            return made
    return None


def _where(said: Filter, at: str, deep: int = 1) -> pb.Where:
    if deep > DEEPEST:
        raise Refusal(400, "invalid_value", f"filters stand at most {DEEPEST} deep within each other", param=at)
    match said:
        case And():
            return pb.Where(all=pb.Where.Several(parts=[_where(one, at, deep + 1) for one in said.filters]))
        case Or():
            return pb.Where(any=pb.Where.Several(parts=[_where(one, at, deep + 1) for one in said.filters]))
        case Above() | AtLeast() | Below() | AtMost():
            bound: Any = {said.__struct_config__.tag: said.value}
            return pb.Where(number=pb.Where.Number(name=said.key, **bound))
        case Among() | NotAmong():
            values = [word(one) for one in said.value]
        case Equal() | Unequal():
            values = [word(said.value)]
    none = isinstance(said, Unequal | NotAmong)
    return pb.Where(fact=pb.Where.Fact(name=said.key, values=values, none=none))


def _said(where: pb.Where) -> dict[str, Any]:
    match where.WhichOneof("said"):
        case "fact":
            fact = where.fact
            one, several = WORDS[fact.none]
            many = len(fact.values) > 1
            return {
                "type": several if many else one, "key": fact.name,
                "value": list(fact.values) if many else fact.values[0],
            }  # fmt: skip
        case "number":
            said = {one.name: value for one, value in where.number.ListFields()}
            key = said.pop("name")
            bounds = [{"type": name, "key": key, "value": value} for name, value in said.items()]
            return bounds[0] if len(bounds) == 1 else {"type": "and", "filters": bounds}
        case "all":
            return {"type": "and", "filters": [_said(one) for one in where.all.parts]}
    return {"type": "or", "filters": [_said(one) for one in where.any.parts]}
