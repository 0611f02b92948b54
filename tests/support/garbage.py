"""What is left behind for the garbage collector, whose walks hold up every request under way."""

import gc
from collections.abc import Callable

TURNS = 100


def left_by(work: Callable[[], object]) -> int:
    """How many objects hold each other once `work` has been done a hundred times."""
    work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(TURNS):
            work()
        return gc.collect()
    finally:
        gc.enable()
