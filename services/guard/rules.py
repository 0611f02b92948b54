"""What policy forbids beyond private data: patterns, topics, languages, and conditions of a tenant's own. Pure.

Each rule says whether a request breaks it; what is done then is its action. Conditions are CEL expressions
(Common Expression Language) over what is known of the request: they end, and cannot reach anything else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


class Action(IntEnum):
    """Weakest first; numbers are those of the contract."""

    ALLOW = 1
    FLAG = 2
    MASK = 3
    BLOCK = 4


@dataclass(slots=True)
class Facts:
    """What is known of a request when its rules are judged."""

    texts: Sequence[str] = ()
    types: Mapping[str, int] = field(default_factory=dict)
    """How many findings there are of each type."""
    data_class: str = "public"
    injection: float = 0.0
    messages: int = 0
    vector: Vector | None = None
    """The static vector of the last user message, (256,)."""
    tell: Callable[[str], str] = lambda text: ""
    """The language of a text as its ISO 639-1 code; '' where it cannot be told."""

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    @property
    def language(self) -> str:
        return self.tell("\n".join(self.texts))


class Rule(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def action(self) -> Action: ...

    @property
    def of_documents(self) -> bool:
        """Whether it is asked of documents, too, and not of what users write alone."""
        ...

    def broken(self, facts: Facts) -> bool: ...


@dataclass(frozen=True, slots=True)
class Denied:
    """A pattern that no text may meet."""

    name: str
    action: Action
    pattern: Any = field(repr=False)

    @property
    def of_documents(self) -> bool:
        return True

    def broken(self, facts: Facts) -> bool:
        return any(self.pattern.search(text) for text in facts.texts)


@dataclass(frozen=True, slots=True)
class Required:
    """A pattern that some text must meet."""

    name: str
    action: Action
    pattern: Any = field(repr=False)

    @property
    def of_documents(self) -> bool:
        return False

    def broken(self, facts: Facts) -> bool:
        return not any(self.pattern.search(text) for text in facts.texts)


@dataclass(slots=True)
class Topic:
    """A subject given by examples: broken by what is near one of them, and nearer than to any that it is unlike.

    Until the vectors of its examples are there it forbids nothing.
    """

    name: str
    action: Action
    examples: tuple[str, ...]
    unlike: tuple[str, ...]
    at: float
    """Cosine from which a text is of the topic."""
    prototypes: Vector | None = None
    """Of the examples, then of those that it is unlike; (n, 256)."""

    @property
    def of_documents(self) -> bool:
        return False

    def likeness(self, facts: Facts) -> float:
        """-1 to 1; 0 where it cannot be told, or another example is nearer."""
        if self.prototypes is None or facts.vector is None or facts.vector.shape != self.prototypes.shape[1:]:
            return 0.0
        near = self.prototypes @ facts.vector
        mine = float(near[: len(self.examples)].max())
        return mine if mine > max(near[len(self.examples) :], default=-1.0) else 0.0

    def broken(self, facts: Facts) -> bool:
        return self.likeness(facts) >= self.at


@dataclass(frozen=True, slots=True)
class Languages:
    """The only languages; a text whose language cannot be told passes."""

    name: str
    action: Action
    allowed: frozenset[str]

    @property
    def of_documents(self) -> bool:
        return False

    def broken(self, facts: Facts) -> bool:
        return bool(said := facts.language) and said not in self.allowed


@dataclass(frozen=True, slots=True)
class Condition:
    """A CEL expression that must not be true."""

    name: str
    action: Action
    program: Any = field(repr=False)

    @property
    def of_documents(self) -> bool:
        return True

    def broken(self, facts: Facts) -> bool:
        """An expression that cannot be computed is taken as true: what is not known to be good is not let through."""
        try:
            return bool(self.program.execute(_context(facts)))
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError):
            return True


def likeness(rule: Rule, facts: Facts) -> float:
    """How near a request comes to breaking a topic; 0 for other rules."""
    return rule.likeness(facts) if isinstance(rule, Topic) else 0.0


def condition(text: str) -> Any:
    """The program of a CEL expression.

    Raises:
        ValueError: it is not one, names something unknown, or is neither true nor false.
    """
    import cel  # a command line comes along with it, a tenth of a second: only with the first rule

    try:
        program = cel.compile(text)
        made = program.execute(_context(Facts()))
    except (RuntimeError, TypeError, LookupError, ArithmeticError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(made, bool):
        raise ValueError("it must be true or false")
    return program


def _context(facts: Facts) -> Any:
    import cel

    context = cel.Context(
        {
            "types": sorted(facts.types),
            "data_class": facts.data_class,
            "injection": facts.injection,
            "messages": facts.messages,
            "characters": facts.characters,
        }
    )
    context.add_function("count", lambda kind: facts.types.get(kind, 0))
    context.add_function("language", lambda: facts.language)
    context.add_function("contains", lambda text: any(text in one for one in facts.texts))
    return context
