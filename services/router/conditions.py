"""Whether a request has what a route asks of it. Pure.

Whether a condition holds is True, False, or None while nobody knows what the text means: that takes a transformer, and is
found out only where nothing cheaper decides (Kleene's three values).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import re2

from services.router.predictor import Prediction
from services.router.ranking import Needs
from services.router.when import ANY, NEEDS, When
from services.runtime.accounts import within
from services.runtime.languages import language

Vector = npt.NDArray[np.float32]

CHARACTERS_A_TOKEN = 4
UNSPACED = ("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\uf900", "\ufaff")
"""Scripts that write words without a space between them: Thai and Lao, Burmese, kana, Han."""


@dataclass(slots=True)
class Seen:
    """A request as conditions see it."""

    text: str
    prediction: Prediction | None
    needs: Needs
    data_class: str
    metadata: Mapping[str, str]
    account: str
    met: bool = False
    """Somebody has tried to tell what the text means."""
    meaning: Vector | None = None
    """MiniLM's vector, (384,) of unit length; None where nobody can tell."""
    subject: tuple[str, float] = ("", 0.0)
    """What it is about, and the chance of that."""
    _language: str | None = None

    @property
    def language(self) -> str:
        if self._language is None:
            self._language = language(self.text)
        return self._language

    @property
    def hard(self) -> float:
        return 1 - self.prediction.weak if self.prediction is not None else 0.0

    @property
    def tokens(self) -> int:
        return self.needs.input_tokens // CHARACTERS_A_TOKEN


class Condition(Protocol):
    def holds(self, seen: Seen) -> bool | None: ...

    def why_not(self, seen: Seen) -> str:
        """Of one that does not hold."""
        ...


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is plain to see."""

    name: str
    test: Callable[[Seen], bool]
    told: Callable[[Seen], str]

    def holds(self, seen: Seen) -> bool | None:
        return self.test(seen)

    def why_not(self, seen: Seen) -> str:
        return f"{self.name}: {self.told(seen)}"


@dataclass(frozen=True, slots=True)
class About:
    """Subjects."""

    subjects: frozenset[str]

    def holds(self, seen: Seen) -> bool | None:
        if not seen.text:
            return False
        return seen.subject[0] in self.subjects if seen.met else None

    def why_not(self, seen: Seen) -> str:
        name, chance = seen.subject
        return f"subjects: {name}, at {chance:.2f}" if name else "subjects: nobody can tell"


@dataclass(slots=True)
class Like:
    """Examples. Until their vectors are there nothing is like them."""

    examples: tuple[str, ...]
    unlike: tuple[str, ...]
    near: float
    vectors: Vector | None = None
    """Of the examples, then of those that it is unlike, (n, 384)."""

    def nearness(self, seen: Seen) -> float:
        """-1 to 1; 0 where nobody can tell, or something unlike is nearer."""
        if self.vectors is None or seen.meaning is None:
            return 0.0
        near = self.vectors @ seen.meaning
        mine = float(near[: len(self.examples)].max())
        return mine if mine > max(near[len(self.examples) :], default=-1.0) else 0.0

    def holds(self, seen: Seen) -> bool | None:
        if not seen.text or self.vectors is None:
            return False
        return self.nearness(seen) >= self.near if seen.met else None

    def why_not(self, seen: Seen) -> str:
        return f"like: {self.nearness(seen):.2f}, below {self.near:g}"


@dataclass(frozen=True, slots=True)
class All:
    parts: Sequence[Condition]

    def holds(self, seen: Seen) -> bool | None:
        known: bool | None = True
        for one in self.parts:
            if (holds := one.holds(seen)) is False:
                return False
            known = known and holds
        return known

    def why_not(self, seen: Seen) -> str:
        return next((one.why_not(seen) for one in self.parts if one.holds(seen) is False), "")


@dataclass(frozen=True, slots=True)
class Any_:
    parts: Sequence[Condition]

    def holds(self, seen: Seen) -> bool | None:
        known: bool | None = False
        for one in self.parts:
            if holds := one.holds(seen):
                return True
            known = None if holds is None else known
        return known

    def why_not(self, seen: Seen) -> str:
        return "any: " + ", nor ".join(one.why_not(seen) for one in self.parts)


@dataclass(frozen=True, slots=True)
class None_:
    parts: Any_

    def holds(self, seen: Seen) -> bool | None:
        holds = self.parts.holds(seen)
        return None if holds is None else not holds

    def why_not(self, seen: Seen) -> str:
        return "none: one of them holds"


def compiled(when: When) -> All:
    """What is cheap to tell comes first.

    Raises:
        re2.error: of a pattern.
    """
    parts: list[Condition] = [*_facts(when)]
    parts += [compiled(one) for one in when.all]
    if when.any:
        parts.append(Any_([compiled(one) for one in when.any]))
    if when.none:
        parts.append(None_(Any_([compiled(one) for one in when.none])))
    if when.subjects:
        parts.append(About(frozenset(when.subjects)))
    if when.like:
        parts.append(Like(when.like, when.unlike, when.near))
    return All(parts)


def _facts(when: When) -> Iterable[Fact]:
    for name, allowed in when.metadata.items():
        yield _label(name, frozenset(allowed))
    if when.accounts:
        yield Fact(
            "accounts",
            lambda seen: any(within(seen.account, one) for one in when.accounts),
            lambda seen: seen.account,
        )
    if when.data_classes:
        yield _one_of("data_classes", when.data_classes, lambda seen: seen.data_class)
    if when.needs:
        yield Fact(
            "needs",
            lambda seen: any(getattr(seen.needs, one) for one in when.needs),
            lambda seen: ", ".join(one for one in NEEDS if getattr(seen.needs, one)) or "nothing",
        )
    if when.tokens_from or when.tokens_to:
        yield _between("tokens", when.tokens_from, when.tokens_to, lambda seen: seen.tokens)
    if when.words:
        yield _found("words", re2.compile(phrases(when.words)))
    if when.patterns:
        yield _found("patterns", re2.compile("|".join(f"(?:{one})" for one in when.patterns)))
    if when.tasks:
        yield _one_of("tasks", when.tasks, lambda seen: seen.prediction.task if seen.prediction else "")
    if when.harder_than:
        yield Fact("harder_than", lambda seen: seen.hard > when.harder_than, lambda seen: f"{seen.hard:.2f}")
    if when.easier_than:
        yield Fact(
            "easier_than",
            lambda seen: seen.prediction is not None and seen.hard < when.easier_than,
            lambda seen: f"{seen.hard:.2f}",
        )
    if when.languages:
        yield _one_of("languages", when.languages, lambda seen: seen.language)


def _label(name: str, allowed: frozenset[str]) -> Fact:
    def test(seen: Seen) -> bool:
        return name in seen.metadata and (ANY in allowed or seen.metadata[name] in allowed)

    return Fact(f"metadata.{name}", test, lambda seen: seen.metadata.get(name, "not there"))


def _one_of(name: str, allowed: Iterable[str], of: Callable[[Seen], str]) -> Fact:
    known = frozenset(allowed)
    return Fact(name, lambda seen: of(seen) in known, lambda seen: of(seen) or "nobody can tell")


def _between(name: str, low: int, high: int, of: Callable[[Seen], int]) -> Fact:
    return Fact(name, lambda seen: low <= of(seen) and (not high or of(seen) <= high), lambda seen: str(of(seen)))


def _found(name: str, pattern: Any) -> Fact:
    return Fact(name, lambda seen: pattern.search(seen.text) is not None, lambda seen: "none is there")


def phrases(words: Iterable[str]) -> str:
    """RE2 for any of them, whole, large or small, however they are spaced."""
    return "(?i)" + "|".join(_phrase(one) for one in words)


def _phrase(said: str) -> str:
    text = r"\s+".join(re2.escape(one) for one in said.split())
    edges = [r"(?:^|[^\pL\pM\pN_])", r"(?:$|[^\pL\pM\pN_])"]
    ends = said.strip()[:1], said.strip()[-1:]
    before, after = (edge if _spaced(end) else "" for edge, end in zip(edges, ends, strict=True))
    return f"(?:{before}{text}{after})"


def _spaced(character: str) -> bool:
    """Whether a word that ends in it has an edge there."""
    return (character.isalnum() or character == "_") and not any(low <= character <= high for low, high in UNSPACED)


def likes(condition: Condition) -> Iterable[Like]:
    """All examples in it."""
    if isinstance(condition, Like):
        yield condition
    elif isinstance(condition, None_):
        yield from likes(condition.parts)
    elif isinstance(condition, All | Any_):
        for one in condition.parts:
            yield from likes(one)
