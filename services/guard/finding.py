"""Something private in a text. Pure."""

from msgspec import Struct


class Found(Struct, frozen=True):
    """`start` and `end` are Unicode code points of the text that was given."""

    type: str
    start: int
    end: int
    score: float
    recognizer: str
    reason: str

    def moved(self, by: int) -> "Found":
        return Found(self.type, self.start + by, self.end + by, self.score, self.recognizer, self.reason)


RANK = {
    "SECRET": 9, "CREDIT_CARD": 8, "IBAN": 8, "EMAIL": 7, "CRYPTO": 7, "MAC_ADDRESS": 7, "IP_ADDRESS": 6, "URL": 5,
    "PHONE": 4, "ADDRESS": 3, "PERSON": 2, "ORGANIZATION": 2, "LOCATION": 1, "USERNAME": 1, "DATE_TIME": 1,
}  # fmt: skip
"""Who wins where findings overlap; types not named are identity numbers and stand at 6."""


def resolved(found: list[Found]) -> list[Found]:
    """Without overlaps: the stronger type wins, then the longer span, then the score; by position."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda f: (-RANK.get(f.type, 6), f.start - f.end, -f.score)):
        if all(one.end <= other.start or one.start >= other.end for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda f: f.start)
