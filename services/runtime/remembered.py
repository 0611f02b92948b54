"""What was worked out before, in a book that stays small."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
LONGEST_WORD = 64
"""Characters of a word that is worth to be remembered: what is longer is hardly met again."""


class Remembered(dict[K, V]):
    """Emptied when it is full: names and numbers fill every book of words in time, and what is in use is soon back. One that took no
    more instead would work everything else out again and again from then on."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: V) -> V:
        """`value`, remembered."""
        if len(self) >= self._most:
            self.clear()
        self[key] = value
        return value


class RememberedWords(Remembered[str, V]):
    """By words, of which none is taken that is too long to be met again."""

    def keep(self, key: str, value: V) -> V:
        return super().keep(key, value) if len(key) <= LONGEST_WORD else value
