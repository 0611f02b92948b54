"""Which facts a document must have: the tree that each engine renders. Pure."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b

from msgspec import Struct

from services.runtime.errors import Failure, Kind

MOST_FACTS = 64
NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
INSIDE: Mapping[str, Callable[[float, float], bool]] = {
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip


class TooManyFacts(Failure):
    kind, reason = Kind.INVALID, "TOO_MANY_FACTS"
    text = "a filter names at most {most} facts; this one names {named}"
    field = "where"


class NoBound(Failure):
    kind, reason = Kind.INVALID, "NO_BOUND"
    text = "a number is asked for within a bound: gt, gte, lt or lte"
    field = "where"


class Fact(Struct, frozen=True):
    """That a document has a fact with one of the values; with `none`, that it has it with none of them, or not at all."""

    name: str
    values: tuple[str, ...]
    none: bool = False

    @property
    def pairs(self) -> list[str]:
        """As passages keep them."""
        return [f"{self.name}={value}" for value in self.values]


class Number(Struct, frozen=True):
    """That a fact is a number within bounds."""

    name: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """Those that there are, by what they are called."""
        said = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return {name: bound for name, bound in said.items() if bound is not None}

    def holds(self, number: float | None) -> bool:
        return number is not None and all(INSIDE[name](number, bound) for name, bound in self.bounds.items())


class Every(Struct, frozen=True):
    parts: "tuple[Where, ...]"


class Either(Struct, frozen=True):
    parts: "tuple[Where, ...]"


Where = Fact | Number | Every | Either


def place(name: str) -> str:
    """Under which a number of that name is kept: names may hold what an engine's paths are made of."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def numbers(attributes: Mapping[str, str]) -> dict[str, float]:
    """Those of a document's facts that are numbers, each under its [place][services.retrieval.where.place]."""
    found = ((name, _number(value)) for name, value in attributes.items())
    return {place(name): number for name, number in found if number is not None}


def _number(value: str) -> float | None:
    """None where it is none."""
    return float(value) if NUMBER.fullmatch(value) else None


def holds(where: Where, attributes: Mapping[str, str]) -> bool:
    match where:
        case Every():
            return all(holds(one, attributes) for one in where.parts)
        case Either():
            return any(holds(one, attributes) for one in where.parts)
        case Number():
            return where.holds(_number(attributes.get(where.name, "")))
    return (attributes.get(where.name) in where.values) is not where.none


def bounded(where: Where) -> Where:
    """
    Raises:
        TooManyFacts, NoBound
    """
    named = list(_named(where))
    if any(isinstance(one, Number) and not one.bounds for one in named):
        raise NoBound
    if len(named) > MOST_FACTS:
        raise TooManyFacts(most=MOST_FACTS, named=len(named))
    return where


def _named(where: Where) -> Iterator[Fact | Number]:
    if isinstance(where, Every | Either):
        for one in where.parts:
            yield from _named(one)
    else:
        yield where
