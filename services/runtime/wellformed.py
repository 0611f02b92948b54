"""Says in microseconds that a message surely keeps the rules of its contract; what is not sure, protovalidate decides.

A request is validated at each of its ten hops. Nearly all that services say to each other is well formed, and the rules that
nearly all of it meets are simple: how long, how many, from where to where, which of these. Those are read from the contract
once for each type. A type or a value that this does not understand is never sure.
"""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from buf.validate import validate_pb2 as rules
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Check = Callable[[Any], bool]
"""Whether a value surely keeps its rules."""
Rules = rules.FieldRules
RANGES = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "float", "double")
LENGTHS = ("string", "bytes")
DURATION, SECOND, LONGEST_S = "google.protobuf.Duration", 1_000_000_000, 315_576_000_000
"""One that is longer, or whose nanoseconds have another sign than its seconds, is no duration: protovalidate says so."""
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class _Unknown(Exception):
    """A rule that is left to protovalidate."""


@dataclass(frozen=True, slots=True)
class AtMost:
    """The commonest rule, kept apart so that it costs no call: a text or a list of at most so many."""

    most: int

    def __call__(self, value: Any) -> bool:
        return len(value) <= self.most


@dataclass(slots=True)
class _Type:
    """What a message of one type has to keep."""

    checks: dict[FieldDescriptor, tuple[int, Check, bool]] = field(default_factory=dict)
    """Of fields that are set: how long at most where that is all, or -1; the rule; whether the field has to be set."""
    needed: int = 0
    """Fields that have to be set."""
    oneofs: list[str] = field(default_factory=list)
    """Of each one field has to be set."""
    never: bool = True
    """Nobody but protovalidate can tell: so it stays, should the type's rules not be read to their end."""

    def surely(self, message: Message) -> bool:
        if self.never:
            return False
        known, needed = self.checks.get, self.needed
        for one, value in message.ListFields():
            if (found := known(one)) is not None:
                most, check, need = found
                if (len(value) > most) if most >= 0 else not check(value):
                    return False
                needed -= need
        if needed:
            return False
        for name in self.oneofs:  # noqa: SIM110 - of one or two a loop costs half of what `all` does
            if message.WhichOneof(name) is None:
                return False
        return True


_types: dict[Descriptor, _Type] = {}


def surely(message: Message) -> bool:
    """Whether `message` keeps every rule; False where that is not known."""
    return _type(message.DESCRIPTOR).surely(message)


def _type(descriptor: Any) -> _Type:
    known = _types.get(descriptor)
    if known is not None:
        return known
    made = _types[descriptor] = _Type()  # before it is filled: types may hold themselves
    never = descriptor.GetOptions().HasExtension(rules.message)
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[rules.oneof].required:
            made.oneofs.append(oneof.name)
    for one in descriptor.fields:
        never |= not _added(made, one)
    made.never = never
    return made


def _added(made: _Type, one: FieldDescriptor) -> bool:
    """Whether a message without the field can be told to be good."""
    options = one.GetOptions()
    said = options.Extensions[rules.field] if options.HasExtension(rules.field) else Rules()
    try:
        check = _check(one, said)
    except _Unknown:
        made.checks[one] = (-1, lambda value: False, False)
        return one.has_presence and not said.required
    needed = said.required or (not one.has_presence and check is not None and not check(_default(one)))
    if check is not None or needed:
        most = check.most if isinstance(check, AtMost) else -1
        made.checks[one] = (most, check or (lambda value: True), needed)
        made.needed += needed
    return True


def _default(one: FieldDescriptor) -> Any:
    return [] if one.is_repeated else one.default_value


def _check(one: FieldDescriptor, said: Rules) -> Check | None:
    """
    Raises:
        _Unknown: the field has a rule of another kind.
    """
    _only(said, "required", "repeated", "map", "enum", "duration", *LENGTHS, *RANGES)
    if not one.is_repeated:
        return _single(one, said)
    if one.message_type is not None and one.message_type.GetOptions().map_entry:
        return _mapped(one, said)
    return _repeated(one, said.repeated)


def _repeated(one: FieldDescriptor, said: rules.RepeatedRules) -> Check | None:
    _only(said, "min_items", "max_items", "items")
    _only(said.items, "enum", *LENGTHS, *RANGES)
    least, most, each = said.min_items, _or(said, "max_items", sys.maxsize), _single(one, said.items)
    if each is None:
        return _within(least, most) if said.ListFields() else None
    return _each(each, least, most)


def _each(check: Check, least: int, most: int) -> Check:
    def checked(values: Any) -> bool:
        if not least <= len(values) <= most:
            return False
        for value in values:  # noqa: SIM110 - of one value or two a loop costs half of what `all` does
            if not check(value):
                return False
        return True

    return checked


def _mapped(one: FieldDescriptor, said: Rules) -> Check | None:
    _only(said.map, "min_pairs", "max_pairs")
    least, most = said.map.min_pairs, _or(said.map, "max_pairs", sys.maxsize)
    assert one.message_type is not None
    kept = one.message_type.fields_by_name["value"]
    if kept.message_type is None:
        return _within(least, most) if said.map.ListFields() else None
    each = _each(_type(kept.message_type).surely, least, most)
    return lambda values: each(values.values())


def _single(one: FieldDescriptor, said: Rules) -> Check | None:
    if one.message_type is not None:
        if one.message_type.full_name == DURATION and said.HasField("duration"):
            return _duration(said.duration)
        if _only(said, "required") or not _ruled(one.message_type, set()):
            return None
        return _type(one.message_type).surely
    kind = said.WhichOneof("type")
    if kind is None:
        return None
    of_kind = getattr(said, kind)
    if kind == "enum":
        return _enum(one, of_kind)
    if kind in LENGTHS:
        return _text(of_kind)
    if kind in RANGES:
        return _number(of_kind)
    raise _Unknown


def _text(said: Any) -> Check:
    if getattr(said, "uuid", False):
        _only(said, "uuid")
        return lambda value: UUID.fullmatch(value) is not None
    _only(said, "min_len", "max_len", "in")
    least, most, among = said.min_len, _or(said, "max_len", sys.maxsize), frozenset(getattr(said, "in"))
    if among:
        return lambda value: value in among and least <= len(value) <= most
    return _within(least, most)


def _within(least: int, most: int) -> Check:
    if not least:
        return AtMost(most)
    return lambda value: least <= len(value) <= most


def _number(said: Any) -> Check:
    _only(said, "gte", "gt", "lte", "lt", "in", "finite")
    between, among = _between(said, lambda bound: bound), frozenset(getattr(said, "in"))
    return (lambda value: value in among and between(value)) if among else between


def _duration(said: rules.DurationRules) -> Check:
    _only(said, "gte", "gt", "lte", "lt")
    between = _between(said, lambda bound: bound.ToNanoseconds())

    def check(value: Any) -> bool:
        seconds: int = value.seconds
        nanos: int = value.nanos
        return 0 <= nanos < SECOND and abs(seconds) <= LONGEST_S and between(seconds * SECOND + nanos)

    return check


def _between(said: Any, read: Callable[[Any], float]) -> Check:
    """Bounds, each read as a number; those that are turned round, which would forbid a range, are left to protovalidate."""

    def bound(name: str, otherwise: float) -> float:
        return read(getattr(said, name)) if said.HasField(name) else otherwise

    gte, gt = bound("gte", -math.inf), bound("gt", -math.inf)
    lte, lt = bound("lte", math.inf), bound("lt", math.inf)
    if max(gte, gt) >= min(lte, lt):
        raise _Unknown
    # Of numbers that are not finite none is above and below something.
    return lambda value: gte <= value <= lte and gt < value < lt


def _enum(one: FieldDescriptor, said: rules.EnumRules) -> Check:
    _only(said, "defined_only", "in", "not_in")
    assert one.enum_type is not None
    known = frozenset(one.enum_type.values_by_number)
    among, barred = frozenset(getattr(said, "in")), frozenset(said.not_in)
    good = (among & known if among else known) - barred
    return lambda value: value in good  # one that is not defined is not sure, whether it may be or not


def _ruled(descriptor: Descriptor, met: set[Descriptor]) -> bool:
    """Whether a message of the type, or one within it, has any rule."""
    if descriptor in met:
        return False
    met.add(descriptor)
    if descriptor.GetOptions().HasExtension(rules.message):
        return True
    if any(one.GetOptions().HasExtension(rules.oneof) for one in descriptor.oneofs):
        return True
    return any(
        one.GetOptions().HasExtension(rules.field) or (one.message_type is not None and _ruled(one.message_type, met))
        for one in descriptor.fields
    )


def _only(said: Message, *understood: str) -> bool:
    """Whether it says anything.

    Raises:
        _Unknown: something that is not understood.
    """
    names = {one.name for one, _ in said.ListFields()}
    if not names.issubset(understood):
        raise _Unknown
    return bool(names - {"required"})


def _or(said: Any, name: str, otherwise: float) -> Any:
    return getattr(said, name) if said.HasField(name) else otherwise
