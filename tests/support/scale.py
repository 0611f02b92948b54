"""How long the tests may take: `make soak` sets one variable, and the same tests run their long versions."""

import os

SOAK = os.environ.get("TOLLWAY_TEST_SCALE") == "soak"


def sized(fast: int, soak: int) -> int:
    """`fast` in `make test`, `soak` in `make soak`."""
    return soak if SOAK else fast
