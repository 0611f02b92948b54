"""A budget of calls beyond the first: each call earns a little of it, a retry or a hedge spends one. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Credit:
    a_call: float
    """What a call earns: one over how many calls have a second."""
    most: float
    left: float

    def earn(self) -> None:
        self.left = min(self.left + self.a_call, self.most)

    def spend(self) -> bool:
        """Whether there was one to spend."""
        if self.left < 1:
            return False
        self.left -= 1
        return True
