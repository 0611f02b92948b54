"""Where the stretches of a text stand once it has been rewritten on its way. Pure."""

from collections.abc import Callable


class Places:
    """`rewriting` begins a way of rewriting a text stretch by stretch. It is gone anew for what is asked, as far as that: a text that nobody
    asks about costs no more than to be kept."""

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
        self._said.append(text)
        self.characters += len(text)

    def of(self, at: int) -> int:
        """Where what stood at character `at` stands now."""
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
