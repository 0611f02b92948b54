"""Where the stretches of a text stand once it has been rewritten on its way. Pure."""

from collections.abc import Callable

MOST_CHARACTERS = 1 << 18
"""Of a text that is kept to be gone anew. No answer that rests on pages is as long, and a stream may go on for ever."""
MOST_PIECES = 1000
"""That lie side by side: together they take a tenth of the room."""


class Places:
    """`rewriting` begins a way of rewriting a text stretch by stretch. It is gone anew for what is asked, as far as that: a text that nobody
    asks about costs no more than to be kept. Of one that is too long to be kept nothing is known: each place is its beginning."""

    def __init__(self, rewriting: Callable[[], Callable[[str], str]]) -> None:
        self._rewriting = rewriting
        self._said: list[str] = []
        self._known: dict[int, int] = {}
        self.characters = 0
        """Of the text so far."""
        self._rewrite: Callable[[str], str] | None = None
        self._at = self._stands = 0

    def add(self, text: str) -> None:
        """More of the text, as it was."""
        self.characters += len(text)
        if self.characters > MOST_CHARACTERS:
            self._said.clear()
            self._known.clear()
            return
        self._said.append(text)
        if len(self._said) > MOST_PIECES:
            self._said = ["".join(self._said)]

    def of(self, at: int) -> int:
        """Where what stood at character `at` stands now."""
        if self.characters > MOST_CHARACTERS:
            return 0
        at = min(at, self.characters)
        if (known := self._known.get(at)) is not None:
            return known
        if self._rewrite is None or at < self._at:
            self._rewrite, self._at, self._stands = self._rewriting(), 0, 0
        if at > self._at:
            self._said = ["".join(self._said)]
            self._stands += len(self._rewrite(self._said[0][self._at : at]))
            self._at = at
        self._known[at] = self._stands
        return self._stands
