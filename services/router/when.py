"""What a route asks of a request, as data. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NEAR = 0.6
"""Cosine of MiniLM's vectors from which a text is like an example."""
ANY = "*"
"""Among a label's values: whatever it is."""
NEEDS = ("tools", "vision", "json_schema", "web_search")


@dataclass(frozen=True, slots=True)
class When:
    """All that is said must hold; of a list, one is enough."""

    subjects: tuple[str, ...] = ()
    """What the text is about."""
    tasks: tuple[str, ...] = ()
    """What it asks for."""
    like: tuple[str, ...] = ()
    """Examples: a text that means nearly the same as one of them..."""
    unlike: tuple[str, ...] = ()
    """...and is further from all of these."""
    near: float = NEAR
    """How near, -1 to 1."""
    words: tuple[str, ...] = ()
    """Words or phrases that the text has, large or small."""
    patterns: tuple[str, ...] = ()
    """RE2, anywhere in the text."""
    languages: tuple[str, ...] = ()
    """ISO 639-1."""
    data_classes: tuple[str, ...] = ()
    """The guard's word for what the prompt holds."""
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values by the name of the request's label; `*` for any."""
    accounts: tuple[str, ...] = ()
    """Accounts that ask, with all below them."""
    needs: tuple[str, ...] = ()
    """`tools`, `vision`, `json_schema`, `web_search`."""
    tokens_from: int = 0
    tokens_to: int = 0
    """Of the whole conversation, a token for four bytes; 0 for no bound."""
    harder_than: float = 0.0
    """The chance that a weak model fails, 0 to 1; 0 for no bound."""
    easier_than: float = 0.0
    all: "tuple[When, ...]" = ()
    any: "tuple[When, ...]" = ()
    none: "tuple[When, ...]" = ()


def looked_at(when: When) -> tuple[frozenset[str], bool]:
    """The labels that it looks at, and whether it looks at the account."""
    labels, account = set(when.metadata), bool(when.accounts)
    for one in (*when.all, *when.any, *when.none):
        more, too = looked_at(one)
        labels, account = labels | more, account or too
    return frozenset(labels), account
