"""One recogniser by form."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """`near` must be found in the 60 characters before or the 20 after, `far` must not (in the 24 before)."""

    name: str
    type: str
    regex: str
    score: float
    reason: str
    check: Callable[[str], bool] | None = None
    near: str = ""
    far: str = ""
    group: int = 0
    cut: Callable[[str], int] | None = None
    """How much of a match is the value itself: a form that ends in words may take in the words behind it."""
